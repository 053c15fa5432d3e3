package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/cloudinit"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
	"github.com/nm-cloud-seed/nm-cloud-seed/systemd"
)

// Enough for what is read here.
const (
	maxFile    = 256 << 10 // bytes
	maxEntries = 4096      // of a directory
)

// image is a system as it is on its disk, with what several checks ask for.
type image struct {
	dir      string // where it is; "" for "/"
	root     string // how it is called in what is said; "" for the system that we are in
	fsys     fs.FS
	cmdline  string   // the kernel's, of a system that runs
	denied   []string // what a check could not read, as only root may
	units    *systemd.Units
	files    cloudinit.Files
	cloud    cloudinit.Config
	cloudErr error
	version  version // of cloud-init
	conf     config.Config
	confErr  error
	plan     systemd.Plan
	planned  *systemd.Units // with the plan carried out
	other    string         // why another service than NetworkManager runs the wired devices; empty: not known
	// networkdFile is the file by which systemd-networkd may run wired devices.
	networkdFile  string
	deniedNetwork []string // of what says which service runs the devices, what only root may read
}

// Image examines the image that is unpacked or mounted at root. The platform is
// taken to be CloudStack, since an image has no firmware. An error is that there
// is no system to look at.
func Image(root string) (Report, error) {
	root = filepath.Clean(root)
	i, done, err := open(root)
	if err != nil {
		return Report{}, err
	}
	defer done()
	return Report{Root: root, Checks: examine(i.steps()), end: i.end()}, nil
}

// open reads what several checks ask for. Call done when finished.
func open(dir string) (i *image, done func(), err error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, nil, fmt.Errorf("cannot examine %s: %s (unpack or mount the image there)", dir, rootfs.Reason(err))
	} else if !info.IsDir() {
		return nil, nil, fmt.Errorf("cannot examine %s: not a directory (unpack or mount the image, and name the directory)", dir)
	}
	root := strings.TrimSuffix(dir, "/") // "/" is where a builder of images has it in a chroot
	i, done, err = load(root, root)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot examine %s: %s (is an image with systemd unpacked or mounted there?)", dir, clean(err.Error()))
	}
	return i, done, nil
}

// load is open for a directory that is there, "" for "/".
func load(dir, root string) (i *image, done func(), err error) {
	fsys, done, err := rootfs.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	units, err := systemd.Load(fsys, root)
	if err != nil {
		done()
		return nil, nil, err
	}
	i = &image{dir: dir, root: root, fsys: fsys, units: units, files: cloudinit.Files{Root: dir}}
	i.cloud, i.cloudErr = i.files.Config()
	i.version = i.readVersion()
	i.conf, i.confErr = config.Load(dir)
	if i.conf.Ordering != config.OrderingOff {
		i.plan = units.Plan(systemd.Ordering(i.conf.Ordering))
	}
	i.findOther()
	i.planned = units.With(i.plan)
	return i, done, nil
}

// steps are all checks, in their order, with the earlier ones that they need.
func (i *image) steps() []step {
	const (
		cloudInit = "cloud-init.installed"
		nm        = "NetworkManager.installed"
		started   = "NetworkManager.started"
		ours      = "nm-cloud-seed.installed"
		on        = "nm-cloud-seed.switched-on"
	)
	needs := func(names ...string) []string { return names }
	return []step{
		{"image", i.system, nil},
		{"kernel.command-line", i.commandLine, nil},
		{nm, i.networkManager, nil},
		{started, i.networkManagerStarted, needs(nm)},
		{"NetworkManager.dbus", i.dbus, needs(nm)},
		{"NetworkManager.devices", i.devices, needs(nm)},
		{"NetworkManager.alone", i.alone, nil},
		{cloudInit, i.cloudInit, nil},
		{"cloud-init.version", i.cloudInitVersion, needs(cloudInit)},
		{"cloud-init.enabled", i.cloudInitEnabled, needs(cloudInit)},
		{"cloud-init.configuration", i.cloudInitConfig, needs(cloudInit)},
		{"cloud-init.datasources", i.datasources, needs(cloudInit)},
		{"cloud-init.seeds", i.otherSeeds, needs(cloudInit)},
		{"cloud-init.network", i.network, needs(cloudInit, started)},
		{"cloud-init.dhcp-client", i.dhcpClient, needs(cloudInit)},
		{ours, i.ours, nil},
		{"nm-cloud-seed.configuration", i.configuration, needs(ours)},
		{on, i.switchedOn, needs(ours)},
		{"nm-cloud-seed.drop-in", i.dropIn, needs(ours)},
		{"ordering.units", i.readable, nil},
		{"ordering.cycles", i.cycles, nil},
		{"ordering.deadlock", i.deadlock, needs(cloudInit, started)},
		{"ordering.plan", i.generator, needs(cloudInit, started, ours, on)},
		{"ordering.held", i.held, needs("ordering.plan")},
		{"ordering.not-held", i.notHeld, needs("ordering.plan")},
		{"left-overs.instance", i.instance, nil},
		{"left-overs.seed", i.ownSeed, nil},
		{"left-overs.machine-id", i.machineID, nil},
	}
}

// system is the distribution's name.
func (i *image) system() Check {
	name := cmp.Or(i.release("PRETTY_NAME"), i.release("ID"))
	if name == "" {
		return warning("neither /etc/os-release nor /usr/lib/os-release names the system", "see that the whole image is there")
	}
	return ok(name)
}

// release is a value of os-release(5), which is nearly a shell script.
func (i *image) release(key string) string {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		for line := range strings.Lines(i.read(name)) {
			if value, found := strings.CutPrefix(strings.TrimSpace(line), key+"="); found {
				return strings.Trim(value, `"'`)
			}
		}
	}
	return ""
}

// read is a file's text; none if it cannot be read.
func (i *image) read(name string) string {
	data, err := rootfs.Read(i.fsys, name, maxFile)
	i.deny(err, name)
	if err != nil {
		return ""
	}
	return string(data)
}

// deny notes what only root may read.
func (i *image) deny(err error, name string) {
	if errors.Is(err, fs.ErrPermission) {
		i.denied = append(i.denied, "cannot read /"+name+": "+fs.ErrPermission.Error())
	}
}

// exists says whether there is something by a name, also a link that leads nowhere.
func (i *image) exists(name string) bool {
	_, err := fs.Lstat(i.fsys, name)
	return err == nil
}

// list is what is in a directory, by names that match.
func (i *image) list(dir, pattern string) []string {
	entries, err := rootfs.List(i.fsys, dir, maxEntries)
	i.deny(err, dir)
	var all []string
	for _, e := range entries {
		if matched, _ := path.Match(pattern, e.Name()); matched {
			all = append(all, path.Join(dir, e.Name()))
		}
	}
	return all
}

// program says whether one of these directories has a program. The usual ones
// are those of systemd's PATH.
func (i *image) program(name string, dirs ...string) bool {
	if len(dirs) == 0 {
		dirs = []string{"usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"}
	}
	return slices.ContainsFunc(dirs, func(dir string) bool { return i.exists(dir + "/" + name) })
}

// install says how to install a package.
func (i *image) install(name string) string {
	if i.program("apt-get") {
		return i.chroot("apt-get install -y " + name)
	}
	return "install the package " + name + i.inImage()
}

// inImage says which system is meant, where it is not the one that we are in.
func (i *image) inImage() string {
	if i.root == "" {
		return ""
	}
	return " in the image"
}

// chroot is a command in the image.
func (i *image) chroot(command string) string {
	if i.root == "" {
		return command
	}
	return "chroot " + i.root + " " + command
}

// systemctl is a command that works from outside the image, too.
func (i *image) systemctl(command string) string {
	if i.root == "" {
		return "systemctl " + command
	}
	return "systemctl --root=" + i.root + " " + command
}

// shown has the names of files as they are in the image, not below the root.
func (i *image) shown(text string) string {
	return strings.ReplaceAll(text, i.dir+"/", "/")
}
