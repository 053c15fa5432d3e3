package systemd

import "testing"

// What the images of distributions list, and what administrators add.
var usualFstabs = map[string]string{
	"Debian":         "UUID=6a1b2c3d-0000-4000-8000-000000000000 / ext4 errors=remount-ro 0 1\nUUID=6A1B-2C3D /boot/efi vfat umask=0077 0 1\n/swapfile none swap sw 0 0\n",
	"Debian cloud":   "PARTUUID=0f-1 / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\nPARTUUID=0f-2 /boot/efi vfat defaults 0 0\n",
	"Ubuntu cloud":   "LABEL=cloudimg-rootfs\t/\t ext4\tdiscard,commit=30,errors=remount-ro\t0 1\nLABEL=BOOT\t/boot\text4\tdefaults\t0 2\nLABEL=UEFI\t/boot/efi\tvfat\tumask=0077\t0 1\n",
	"RHEL":           "/dev/mapper/rl-root / xfs defaults,x-systemd.device-timeout=0 0 0\nUUID=1 /boot xfs defaults 0 0\n/dev/mapper/rl-swap none swap defaults 0 0\n",
	"CIS":            "/dev/a / ext4 defaults 0 1\n/dev/b /var ext4 nodev 0 2\n/dev/c /var/log ext4 nodev 0 2\n/dev/d /var/log/audit ext4 nodev 0 2\n/dev/e /var/tmp ext4 nodev 0 2\n/dev/f /home ext4 nodev 0 2\n/dev/g /usr ext4 ro 0 2\ntmpfs /tmp tmpfs nosuid 0 0\ntmpfs /dev/shm tmpfs nosuid 0 0\nproc /proc proc hidepid=2 0 0\ntmpfs /run tmpfs mode=0755 0 0\n",
	"btrfs":          "UUID=1 / btrfs subvol=@ 0 0\nUUID=1 /var/ btrfs subvol=@var 0 0\nUUID=1 //srv btrfs subvol=@srv 0 0\n",
	"odd root":       "/dev/vda1 // ext4 noauto,nofail,x-systemd.automount,x-systemd.required-by=cloud-init-network.service 0 1\n",
	"over the net":   "h:/x / nfs4 _netdev 0 0\nh:/home /home nfs4 _netdev,x-systemd.automount 0 0\n",
	"listed in /etc": "tmpfs /run/lock tmpfs size=5m 0 0\nnone /sys/fs/cgroup/x cgroup2 defaults 0 0\noverlay /etc overlay rw 0 0\n",
}

func TestUsualFstabMakesNoCycle(t *testing.T) {
	t.Parallel()
	for name, fstab := range usualFstabs {
		for _, suite := range []string{"bookworm", "trixie", "sid"} {
			t.Run(suite+"/"+name, func(t *testing.T) {
				files := sample(t, suite)
				files["etc/fstab"] = fstab
				u := loadFiles(t, files)
				if got := u.Cycles(); len(got) > 0 {
					t.Errorf("got cycles %q, want none", got)
				}
				for _, order := range []Ordering{Late, Early} {
					p := u.Plan(order)
					if got := u.With(p).Cycles(); len(got) > 0 {
						t.Errorf("%s: got cycles %q, want none", order, got)
					}
					if p.Ordering != order || len(p.Warnings) > 0 {
						t.Errorf("got the order %s with warnings %q, want %s without", p.Ordering, p.Warnings, order)
					}
				}
			})
		}
	}
}
