package doctor

import (
	"maps"
	"strings"
	"testing"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// Files of images with another network service.
var (
	networkdOn = map[string]string{wants + "systemd-networkd.service": wanted, unitDir + "systemd-networkd.service": unit}
	leftToAll  = map[string]string{"usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf": "[keyfile]\nunmanaged-devices=*,except:type:wifi\n"}
	byNetplan  = map[string]string{"usr/sbin/netplan": "", "etc/netplan/50-cloud-init.yaml": "network: {version: 2, ethernets: {eth0: {dhcp4: true}}}\n"}
	byFile     = map[string]string{
		"etc/systemd/network/10-eth0.network":      "[Match]\nName=eth0\n",
		"etc/NetworkManager/conf.d/unmanaged.conf": "[keyfile]\nunmanaged-devices=interface-name:eth0\n",
		"etc/cloud/cloud.cfg.d/97-no-network.cfg":  "network: {config: disabled}\n",
	}
	byIfupdown = map[string]string{
		"usr/sbin/ifup": "", "usr/sbin/ifdown": "", "usr/sbin/ifquery": "", "etc/network/interfaces": "auto eth0\niface eth0 inet dhcp\n",
		wants + "networking.service": wanted, unitDir + "networking.service": unit,
	}
)

func joined(all ...map[string]string) map[string]string {
	files := make(map[string]string)
	for _, one := range all {
		maps.Copy(files, one)
	}
	maps.DeleteFunc(files, func(_, text string) bool { return text == "-" })
	return files
}

// The doctor says that the package does nothing, and neither finds a problem nor says
// that all is well.
func TestImageOfAnotherNetworkService(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  map[string]string // what checks say, each as info
		end   string
	}{
		{"netplan, as on Ubuntu", joined(networkdOn, leftToAll, byNetplan), map[string]string{
			"NetworkManager.devices": "NetworkManager leaves wired devices alone: netplan gives the network to systemd-networkd, and nm-cloud-seed does nothing here",
			"NetworkManager.alone":   "also started at boot: systemd-networkd.service: netplan gives the network to systemd-networkd",
			"cloud-init.network":     "cloud-init writes for netplan, which gives the network to systemd-networkd: nm-cloud-seed does nothing here, and leaves the search for the virtual router to cloud-init",
			"ordering.deadlock":      "does not matter, as netplan gives the network to systemd-networkd: ",
			"ordering.plan":          "nm-cloud-seed changes nothing: netplan gives the network to systemd-networkd",
		}, "No problem found: netplan gives the network to systemd-networkd."},
		{"netplan, before cloud-init has written its file", joined(networkdOn, map[string]string{"usr/sbin/netplan": "", "usr/lib/systemd/system-generators/netplan": ""}), map[string]string{
			"cloud-init.network": "cloud-init writes for netplan, which gives the network to systemd-networkd: nm-cloud-seed does nothing here",
		}, "No problem found: cloud-init writes for netplan, which gives the network to systemd-networkd."},
		{"a .network file", joined(networkdOn, byFile), map[string]string{
			"NetworkManager.devices": "NetworkManager leaves devices alone, and /etc/systemd/network/10-eth0.network gives systemd-networkd some",
			"NetworkManager.alone":   "also started at boot: systemd-networkd.service, for what NetworkManager leaves alone",
		}, "No problem found: /etc/systemd/network/10-eth0.network gives devices to systemd-networkd."},
		{"ifupdown", byIfupdown, map[string]string{
			"NetworkManager.alone": "also started at boot: networking.service, for what NetworkManager leaves alone",
			"cloud-init.network":   "cloud-init writes /etc/network/interfaces.d for ifupdown: nm-cloud-seed does nothing here",
		}, "No problem found: cloud-init writes /etc/network/interfaces.d for ifupdown."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Image(write(t, joined(good(), tt.files)))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range r.Checks {
				if c.State == Problem || c.State == Warning {
					t.Errorf("got %+v, want no problem", c)
				}
			}
			for name, want := range tt.want {
				if c := r.named(name); c.State != Info || !strings.HasPrefix(c.Detail, want) {
					t.Errorf("got %+v, want an info with %q", c, want)
				}
			}
			if got := r.summary(); !strings.HasPrefix(got, tt.end) {
				t.Errorf("got the summary %q, want %q", got, tt.end)
			}
		})
	}
}

func TestSystemOfAnotherNetworkService(t *testing.T) {
	const why = "eth0 belongs to systemd-networkd"
	for _, tt := range []struct {
		name  string
		files map[string]string
		root  bool
		want  map[string]string // what checks say, each as info
	}{
		{"the run was idle", joined(networkdOn, byFile, map[string]string{
			"run/nm-cloud-seed/status.json": status(`"phase":"idle","text":"nothing to do: ` + why + `"`),
		}), true, map[string]string{
			"NetworkManager.devices":  "none of NetworkManager's: " + why + ", and nm-cloud-seed does nothing here",
			"virtual-router.metadata": "not asked: " + why,
			"this-boot.service":       "nothing to do: " + why,
		}},
		{"there was no run", joined(networkdOn, leftToAll, byNetplan), true, map[string]string{
			"ordering.plan":     "nm-cloud-seed changes nothing: netplan gives the network to systemd-networkd",
			"this-boot.service": "it has not run, as there is nothing to do: netplan gives the network to systemd-networkd",
		}},
		{"there was no run, and netplan's files are root's", joined(networkdOn, leftToAll, byNetplan), false, map[string]string{
			"ordering.written":  "only root can tell, who may read this:",
			"this-boot.service": "only root can tell, who may read this:",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := healthy()
			maps.DeleteFunc(s.files, func(name, _ string) bool { return strings.HasPrefix(name, "run/nm-cloud-seed/") })
			maps.Copy(s.files, tt.files)
			maps.Copy(s.files, map[string]string{
				"sys/class/net/eth0/type": "1\n", "sys/class/net/eth0/ifindex": "2\n", "run/systemd/netif/links/2": "ADMIN_STATE=configured\n",
			})
			s.modes["etc/netplan/50-cloud-init.yaml"] = 0o600
			s.root, s.idle = tt.root, tt.files["run/nm-cloud-seed/status.json"] == ""
			s.view = lease.View{Running: true, Unmanaged: []string{"eth0"}, Devices: []lease.Device{{Name: "eth0", Detail: lease.Unmanaged}}}
			r := s.examine(t, true)
			if r.State() == Problem || r.State() == Warning {
				t.Errorf("got %s, want no problem", r.summary())
			}
			for name, want := range tt.want {
				if c := r.named(name); c.State != Info || !strings.HasPrefix(c.Detail, want) {
					t.Errorf("got %+v, want an info with %q", c, want)
				}
			}
			if got := r.summary(); tt.root && !strings.HasPrefix(got, "No problem found: ") {
				t.Errorf("got the summary %q, want one that does not say that all is well", got)
			}
		})
	}
}
