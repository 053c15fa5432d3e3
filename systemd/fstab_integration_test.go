//go:build integration

package systemd

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"testing/fstest"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"

	"github.com/google/go-cmp/cmp"
)

// What systemd checks, formats and finds devices with makes no order that
// anybody could be in.
func ofDevices(name string) bool {
	return strings.HasPrefix(name, "systemd-fsck") || strings.HasPrefix(name, "blockdev@") || strings.HasSuffix(name, ".device")
}

// TestFstabUnitsAgreeWithSystemd holds our units of an fstab against those of the real generator.
func TestFstabUnitsAgreeWithSystemd(t *testing.T) {
	const fstab = `# a comment
/dev/vda1 / ext4 defaults,noauto,nofail,x-systemd.automount,x-systemd.wanted-by=a.service 0 1
/dev/vdb /data ext4 x-systemd.after=cloud-init-network.service 0 2
/dev/vdc /mnt auto defaults,nofail,x-systemd.after=cloud-init.service,_netdev,comment=cloudconfig 0 2
h:/x /home/n\040fs nfs x-systemd.requires=/data,x-systemd.before=foo.service 0 0
none /opt tmpfs noauto 0 0
/srv/x /srv/y none bind,x-systemd.wanted-by=a.service,x-systemd.required-by=b.service 0 0
/dev/vdd /auto ext4 x-systemd.automount,x-systemd.after=a.service,x-systemd.requires=b.service 0 0
/dev/vde /auto2 ext4 noauto,x-systemd.automount,nofail 0 0
h:/y /auto3 nfs4 x-systemd.automount,x-systemd.requires-mounts-for=/data 0 0
/dev/vdi /boot ext4 defaults,noatime 0 2
/dev/vdj /boot/efi/ vfat umask=0077,nofail 0 1
/dev/vdk //var/./log ext4 defaults 0 2
proc /proc proc defaults 0 0
tmpfs /run tmpfs mode=0755 0 0
tmpfs /run/lock tmpfs size=5m 0 0
tmpfs /dev/shm tmpfs defaults 0 0
none /sys/fs/cgroup/x cgroup2 defaults 0 0
tmpfs /tmp tmpfs defaults 0 0
/dev/vdh /usr ext4 defaults 0 2
/dev/vdg /with%p xfs x-systemd.requires-mounts-for=/y,nofail,x-systemd.wanted-by=multi-user.target 0 0
few
`
	dir := t.TempDir()
	name := filepath.Join(dir, "fstab")
	if err := os.WriteFile(name, []byte(fstab), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/lib/systemd/system-generators/systemd-fstab-generator", out, out, out)
	cmd.Env = append(os.Environ(), "SYSTEMD_FSTAB="+name)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v (install the package systemd)\n%s", err, text)
	}
	there := newDir(normalDir)
	r := &reader{fsys: os.DirFS(dir), links: rootfs.NewLinks(os.DirFS(dir)), notes: new(notes)}
	r.readDir(there, "out")
	here := newDir(normalDir)
	fsys := fstest.MapFS{"etc/fstab": {Data: []byte(fstab)}}
	(&reader{fsys: fsys, links: rootfs.NewLinks(fsys), notes: new(notes)}).fstab(here)
	if diff := cmp.Diff(summary(there), summary(here)); diff != "" {
		t.Error("there (-), here (+):", diff)
	}
}

// summary is what orders units or pulls them in.
func summary(d *dir) []string {
	var all []string
	for name, f := range d.files {
		all = append(all, name)
		for _, key := range []string{"Unit.After", "Unit.Before", "Unit.Requires", "Unit.RequiresMountsFor", "Mount.What", "Mount.Where", "Mount.Type"} {
			for _, value := range f.settings[key] {
				if !ofDevices(value) && value != "auto" {
					all = append(all, name+" "+key+"="+value)
				}
			}
		}
	}
	for sub, files := range d.subs {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if name != "systemd-remount-fs.service" && !ofDevices(name) && !ofDevices(strings.TrimSuffix(sub, ".d")) {
				all = append(all, sub+"/"+name)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
