// Package judge lets cloud-init itself decide whether our seed is right.
//
// In a lab with a simulated virtual router (VR), the service seeds cloud-init
// with its real code. Then the DataSourceCloudStack of a Debian release's own
// cloud-init package, in that release's root and Python, is asked twice: once
// without a seed, so that it crawls the VR by itself, and once with ours.
//
//	           ┌──── crawl: DNS "data-server", HTTP ────┐
//	VR ────────┤                                        ├── DataSourceCloudStack ── same answers?
//	           └─ nm-cloud-seed ─ /var/lib/cloud/seed/cs┘
//
// # What equal means
//
// What cloud-init consumes (instance-id, hostname, FQDN, public keys, zone,
// user-data, and what it derives from other keys) and each metadata value must
// be the same value of the same type. A test names each difference that it
// expects, and fails if there is another one or one less. These are known:
//
//   - A value that starts with { and ends with } is what json.loads makes of it
//     for the crawl, if it can. We write the string. Nothing is lost: cloud-init's
//     own decoder makes the crawl's value of ours ([Answer].Decoded).
//   - Bytes that are no UTF-8 are bytes for the crawl; ours are strings, with
//     U+FFFD for each of them.
//   - local-hostname without a dot is an FQDN with us. That makes the same
//     hostname; 22.4.2, which has no domain of its own, gets an FQDN from us only.
//   - local-hostname that is empty or no host name is the machine's present one with
//     us; an IPv4 address is what cloud-init makes of it.
//   - A key that the index lists but the VR does not serve (404), or whose name
//     the crawl misreads (blanks around it, a U+2028 in it, "0=name"), leaves the
//     crawl with no metadata at all, after five retries.
//   - The crawl leaves out security-credentials, and a standard key that the VR's
//     index hides; we leave out names with control characters.
package judge

import (
	"bufio"
	"context"
	_ "embed" // worker.py
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

//go:embed worker.py
var worker string

// Answer is what a datasource says. The values are the worker's typed ones,
// {"str": "zone-1"} for instance.
type Answer struct {
	Error    string         // why it has nothing
	Facts    map[string]any // what cloud-init's stages ask for
	Metadata map[string]any
	// Decoded is Metadata with each string as the crawl would have decoded it.
	Decoded map[string]any
}

// Judge is a cloud-init at work in the root of its Debian release.
type Judge struct {
	Version, Python string

	root    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Reader
}

const (
	netifLeases = "run/systemd/netif/leases"
	seeded      = "/var/lib/cloud"
	unseeded    = "/var/lib/cloud-without-seed"
)

// New starts a judge in a lab's namespaces. root is a Debian root with
// cloud-init: the judge works in an overlay of it, so it never changes, with
// the lab's /run and /var/lib/cloud/seed. dir is an empty directory for the
// overlay on another file system than overlayfs; command makes a command of the
// lab. Log gets what cloud-init logs.
func New(root, dir string, command func(name string, args ...string) *exec.Cmd, log io.Writer) (*Judge, error) {
	j := &Judge{root: filepath.Join(dir, "root")}
	if err := j.mount(root, dir); err != nil {
		return nil, err
	}
	j.cmd = command("/usr/bin/python3", "-c", worker)
	j.cmd.Dir, j.cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: j.root}
	j.cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8", "HOME=/"}
	j.cmd.Stderr = log
	out, err := j.cmd.StdoutPipe()
	if err == nil {
		j.in, err = j.cmd.StdinPipe()
	}
	if err == nil {
		err = j.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot start cloud-init's Python: %w", err)
	}
	j.answers = bufio.NewReader(out)
	var hello struct {
		Version string `json:"cloud-init"`
		Python  string
	}
	if err := j.answer(&hello); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	j.Version, j.Python = hello.Version, hello.Python
	return j, nil
}

// mount lays out the root; the mounts end with the lab's namespaces.
func (j *Judge) mount(lower, dir string) error {
	dirs := []string{dir + "/upper", dir + "/work", j.root, seeded + "/seed"}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("cannot lay out cloud-init's root: %w", err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, dirs[0], dirs[1])
	if err := unix.Mount("overlay", j.root, "overlay", 0, options); err != nil {
		return fmt.Errorf("cannot mount an overlay of %s: %w", lower, err)
	}
	for _, d := range []string{"/run", "/proc", "/sys", "/dev", seeded + "/seed"} {
		target := j.root + d
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fmt.Errorf("cannot lay out cloud-init's root: %w", err)
		}
		// With its submounts: in a user namespace they must not come off.
		if err := unix.Mount(d, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("cannot bind %s into cloud-init's root: %w", d, err)
		}
	}
	for _, d := range []string{"run/cloud-init", netifLeases, unseeded, "etc"} {
		if err := os.MkdirAll(filepath.Join(j.root, d), 0o755); err != nil {
			return fmt.Errorf("cannot lay out cloud-init's root: %w", err)
		}
	}
	return nil
}

// Crawl is what cloud-init gets from the VR by itself. It finds the VR as on a
// system whose resolv.conf NetworkManager has written: by its DNS name. The
// network's domain is told the way systemd-networkd would.
func (j *Judge) Crawl(ctx context.Context, dns, domain string) (Answer, error) {
	return j.askWith(ctx, unseeded, "nameserver "+dns+"\nsearch "+domain+"\n", "DOMAINNAME="+domain+"\n")
}

// Seed is what cloud-init gets from our seed. There is no DNS; up to 25.1 the
// class looks for a VR before it looks at the seed, and finds the address of
// one in a lease of systemd-networkd, where the service's unit will put it.
func (j *Judge) Seed(ctx context.Context, server, domain string) (Answer, error) {
	return j.askWith(ctx, seeded, "", "SERVER_ADDRESS="+server+"\nROUTER="+server+"\nDOMAINNAME="+domain+"\n")
}

// Stage is what cloud-init gets in the lab as it is: with the lab's seed, routes,
// leases of systemd-networkd and resolv.conf.
func (j *Judge) Stage(ctx context.Context) (Answer, error) {
	resolvConf, err := os.ReadFile("/etc/resolv.conf")
	if err == nil {
		err = j.write("etc/resolv.conf", string(resolvConf))
	}
	if err != nil {
		return Answer{}, fmt.Errorf("cannot ask cloud-init: %w", err)
	}
	return j.ask(ctx, seeded)
}

// write writes a file of the root. glibc notices a change of resolv.conf.
func (j *Judge) write(name, text string) error {
	return os.WriteFile(filepath.Join(j.root, name), []byte(text), 0o644)
}

// askWith asks with this resolv.conf, and this lease of systemd-networkd.
func (j *Judge) askWith(ctx context.Context, cloudDir, resolvConf, lease string) (Answer, error) {
	if err := errors.Join(j.write("etc/resolv.conf", resolvConf), j.write(netifLeases+"/2", lease)); err != nil {
		return Answer{}, fmt.Errorf("cannot ask cloud-init: %w", err)
	}
	return j.ask(ctx, cloudDir)
}

func (j *Judge) ask(ctx context.Context, cloudDir string) (answer Answer, err error) {
	defer context.AfterFunc(ctx, func() { j.cmd.Process.Kill() })()
	if err := json.NewEncoder(j.in).Encode(map[string]string{"cloud_dir": cloudDir}); err != nil {
		return Answer{}, fmt.Errorf("cannot ask cloud-init: %w", err)
	}
	if err := j.answer(&answer); err != nil {
		return Answer{}, errors.Join(err, context.Cause(ctx))
	}
	return answer, nil
}

func (j *Judge) answer(to any) error {
	line, err := j.answers.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, to)
	}
	if err != nil {
		return fmt.Errorf("cannot read cloud-init's answer: %w", err)
	}
	return nil
}

// Close ends the judge.
func (j *Judge) Close() error {
	j.in.Close()
	if err := j.cmd.Wait(); err != nil {
		return fmt.Errorf("cloud-init's Python ended: %w", err)
	}
	return nil
}
