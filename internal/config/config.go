// Package config reads the configuration: keyfiles in the manner of
// NetworkManager.conf(5), and our word on the kernel command line. What follows
// from it is decided elsewhere.
package config

import (
	"io/fs"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// Config is the configuration, complete and within its limits.
type Config struct {
	Platform Platform
	Deadline time.Duration // whole seconds
	LogLevel LogLevel
	Ordering Ordering
	Password bool // ask for it, and hand it to cloud-init
	SSHKeys  bool // apply changed ones after the first boot, too
	Heal     bool // after a first boot without any data, once there is some
	CheckID  bool // refuse an instance-id that is not this machine's, where that is known
}

// Platform says whether this is a CloudStack VM.
type Platform string

// The platforms.
const (
	PlatformAuto       Platform = "auto" // as the firmware (DMI) says
	PlatformCloudStack Platform = "cloudstack"
	PlatformNone       Platform = "none" // do nothing
)

// Ordering says how the boot order is changed, so that cloud-init's network
// stage can have a network.
type Ordering string

// The orderings; systemd/ has what they mean.
const (
	OrderingLate  Ordering = "late"  // the stage moves behind NetworkManager
	OrderingEarly Ordering = "early" // D-Bus and NetworkManager move before sysinit.target
	OrderingOff   Ordering = "off"   // nothing is changed, and nothing started
)

// LogLevel is the least important level that is logged. The words are those
// of logrus.
type LogLevel string

// The log levels.
const (
	LogError   LogLevel = "error"
	LogWarning LogLevel = "warning"
	LogInfo    LogLevel = "info"
	LogDebug   LogLevel = "debug"
)

// Default is the configuration without any file.
func Default() Config {
	var c Config
	for _, o := range Options() {
		_ = o.set(&c, o.Default) // a test proves that every default is valid
	}
	return c
}

// Load reads the configuration files of the system below root ("" is the
// running one), each key of a later file overriding the earlier:
//
//	/usr/lib/nm-cloud-seed/conf.d/*.conf
//	/etc/nm-cloud-seed.conf
//	/etc/nm-cloud-seed.conf.d/*.conf
//
// A file in the last directory hides the one of the same name in the first.
// Missing files are fine. An error names each problem with file and line, at
// most ten, and the Config is usable nevertheless: it has every key that could
// be read, and defaults. A typing error must not make a VM unreachable.
func Load(root string) (Config, error) {
	fsys, done, err := rootfs.Open(root)
	if err != nil {
		return Default(), problem(err.Error())
	}
	defer done()
	return load(fsys, root)
}

// load is Load for any file system; root is for error texts.
func load(fsys fs.FS, root string) (Config, error) {
	c := Default()
	var p problems
	for _, name := range files(fsys, root, &p) {
		path := root + "/" + name
		data, err := read(fsys, name)
		if err != nil {
			p.add("%s: %s", path, rootfs.Reason(err))
			continue
		}
		for _, e := range parse(data) {
			switch err := e.apply(&c); {
			case err == nil:
			case e.line > 0:
				p.add("%s:%d: %s", path, e.line, err)
			default:
				p.add("%s: %s", path, err)
			}
		}
	}
	return c, p.err()
}
