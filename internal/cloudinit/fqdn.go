package cloudinit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// fqdn needs no escaping in YAML between quotes.
var (
	fqdn     = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$`)
	fqdnLine = regexp.MustCompile(`(?m)^fqdn: "([^"\n]*)"$`)
)

// maxDropIn is more than a Handover can have.
const maxDropIn = 4 << 10 // bytes

// TakeBackSecrets takes back what cloud-init has applied by now, and leaves the host
// name, which its later stages still need. It has no secret, and is gone at the next boot,
// with the seed. It is no error if there is nothing to take back.
func TakeBackSecrets(dir string) error {
	data, err := rootfs.Read(os.DirFS(dir), dropIn, maxDropIn)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot keep the host name for cloud-init: cannot read %s: %s", filepath.Join(dir, dropIn), rootfs.Reason(err)), TakeBack(dir))
	}
	name := fqdnLine.FindSubmatch(data)
	if name == nil {
		return TakeBack(dir)
	}
	if err := (Handover{FQDN: string(name[1])}).Write(dir); err != nil {
		return errors.Join(err, TakeBack(dir))
	}
	return nil
}

// PreferFQDN reports whether cloud-init makes the FQDN the host name (_select_hostname in
// cloudinit/distros/__init__.py).
func (c Config) PreferFQDN() bool {
	const key = "prefer_fqdn_over_hostname"
	for _, set := range []layers{c.files.at(key), c.files.at("system_info", key)} {
		if len(set) > 0 {
			return isTrue(set.first())
		}
	}
	return slices.Contains(fqdnFamily, word(c.files.at("system_info", "distro").first()))
}

// fqdnFamily are the distributions whose classes do so unless configured otherwise:
// prefer_fqdn in rhel.py, photon.py and mariner.py, and those derived from them, in 26.2.
var fqdnFamily = []string{
	"rhel", "almalinux", "amazon", "azurelinux", "centos", "cloudlinux", "eurolinux", "fedora", "mariner", "miraclelinux",
	"openeuler", "openEuler", "openmandriva", "OpenCloudOS", "photon", "rocky", "TencentOS", "virtuozzo",
}

// Names returns where the FQDN comes from that a Handover's would override: the image has
// one, or its or the user-data's hostname has a domain and becomes one (get_hostname_fqdn in
// cloudinit/util.py). It is the file and line, or empty. An FQDN of the user-data overrides
// the Handover's.
func (c Config) Names(u UserConfig) string {
	if at := c.files.at("fqdn").where(); at != "" {
		return at
	}
	if len(u.layers.at("fqdn")) > 0 {
		return ""
	}
	if name := c.With(u).files.at("hostname"); strings.Index(word(name.first()), ".") > 0 {
		return name.where()
	}
	return ""
}

// opaque are the beginnings and types of parts that may have cloud-config which only
// cloud-init can read.
var (
	opaque      = []string{"## template:", "#cloud-config-archive", "#cloud-config-jsonp", "#include"}
	opaqueTypes = []string{"text/jinja2", "text/cloud-config-archive", "text/cloud-config-jsonp", "text/x-include-url", "text/x-include-once-url"}
	namesHost   = regexp.MustCompile(`(?i)(^|[^-_a-z0-9])hostname\\?["']?\s*:`)
)

// isOpaque reports whether a part may have cloud-config that only cloud-init can read.
func (p part) isOpaque() bool {
	text := strings.ToLower(strings.TrimSpace(string(p.text[:min(len(p.text), mimeMark)])))
	return slices.Contains(opaqueTypes, p.typ) ||
		slices.ContainsFunc(opaque, func(mark string) bool { return strings.HasPrefix(text, mark) })
}

// Opaque reports whether there may be cloud-config in it that only cloud-init can read.
func (u UserConfig) Opaque() bool { return u.opaque }

// MayName reports whether such cloud-config may set a host name.
func (u UserConfig) MayName() bool { return u.opaque && namesHost.Match(u.text) }

// Files of cloud-init's own memory, and how much of them is read.
const (
	recordFile   = "var/lib/cloud/data/set-hostname"
	previousFile = "var/lib/cloud/data/previous-instance-id"
	maxRecord    = 4 << 10 // bytes
)

// RecordedFQDN returns the FQDN that cloud-init has set last (cc_set_hostname.py, 20.4
// to 26.2), if that was for this instance; empty if not, or if there is no record.
func (f Files) RecordedFQDN(instance string) string {
	fsys, done, err := rootfs.Open(f.Root)
	if err != nil {
		return ""
	}
	defer done()
	read := func(name string) string {
		text, _ := rootfs.Read(fsys, name, maxRecord) // or none
		return strings.TrimSpace(string(text))
	}
	var record struct {
		FQDN string `json:"fqdn"`
	}
	if json.Unmarshal([]byte(read(recordFile)), &record) != nil {
		return ""
	}
	switch read(instanceFile) {
	case instance:
		return record.FQDN
	case noInstance:
		// A boot without data: cloud-init then records what it finds on the system,
		// of which only a domain means something.
		if read(previousFile) == instance && strings.Contains(record.FQDN, ".") {
			return record.FQDN
		}
	}
	return ""
}
