package cloudinit

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Handover is what cloud-init is to apply in this boot, and would not by itself:
// its datasource takes a password only from its own crawl, and its modules run
// once per instance (for that see Rerun).
type Handover struct {
	PasswordHash      string // of the default user, as SHA-512-crypt has it; "" is none
	AllowPasswordAuth bool   // let sshd accept passwords
	SSHKeys           bool   // the module ssh runs again, and host keys must stay
	FQDN              string // where the seed has no domain, so that cloud-init asks for none
}

// hash is what cloud-init hands to chpasswd -e, whatever the password is: a plain
// one it would take for something else if it is "R" or looks like a hash. It
// needs no escaping in YAML.
var hash = regexp.MustCompile(`^\$6\$(rounds=[0-9]+\$)?[./0-9A-Za-z]+\$[./0-9A-Za-z]+$`)

const maxHash = 256 // bytes; the longest has 123

// Write puts it where cloud-init reads it, in the place of NoSearch's. It has to
// stay there until the stages that apply it have ended: then TakeBackSecrets takes it
// back. dir is our runtime directory. The error never has the hash in it.
func (h Handover) Write(dir string) error {
	if h.PasswordHash != "" && (len(h.PasswordHash) > maxHash || !hash.MatchString(h.PasswordHash)) {
		return errors.New("cannot hand the password over to cloud-init: it is not a SHA-512-crypt hash")
	}
	if h.FQDN != "" && !fqdn.MatchString(h.FQDN) {
		return errors.New("cannot hand the host name over to cloud-init: it is not a DNS name")
	}
	return writeDropIn(dir, h.file())
}

// file has no ssh_genkeytypes: where user-data insists on ssh_deletekeys, which we
// cannot override, cloud-init then makes new host keys. With an empty list there
// would be none at all, and no way in.
func (h Handover) file() string {
	var b strings.Builder
	if h.FQDN == "" || h != (Handover{FQDN: h.FQDN}) {
		b.WriteString("# Written by nm-cloud-seed: what CloudStack wants applied in this boot. It goes\n" +
			"# away once cloud-init has done so.\n")
	}
	if h.PasswordHash != "" {
		fmt.Fprintf(&b, "password: \"%s\"\nchpasswd: {expire: false}\n", h.PasswordHash)
	}
	if h.AllowPasswordAuth {
		b.WriteString("ssh_pwauth: true\n")
	}
	if h.SSHKeys {
		b.WriteString("ssh_deletekeys: false\n")
	}
	if h.FQDN != "" {
		fmt.Fprintf(&b, "# Written by nm-cloud-seed: without a domain, cloud-init would ask a DHCP client\n"+
			"# for one. Another fqdn in user-data overrides it.\nfqdn: \"%s\"\n", h.FQDN)
	}
	return b.String()
}
