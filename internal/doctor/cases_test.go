package doctor

// cases are changes to the good image, with the checks that come out otherwise.
var cases = []struct {
	name   string
	change map[string]string
	want   []Check
}{
	{"an unknown system", map[string]string{"etc/os-release": "-"}, []Check{
		{"image", Warning, "neither /etc/os-release nor /usr/lib/os-release names the system", nil, "see that the whole image is there"},
	}},
	{"switched off on the kernel command line", map[string]string{
		"usr/sbin/update-grub": "", "boot/grub/grub.cfg": "\tlinux /vmlinuz ro cloud-init=disabled\n", "boot/grub2/grub.cfg": "linux /vmlinuz nm-cloud-seed=off cloud-init=disabled\n",
		"etc/default/grub": "# GRUB_CMDLINE_LINUX=nm-cloud-seed=off\nGRUB_CMDLINE_LINUX=\"quiet nm-cloud-seed=off\"\n", "etc/default/grub.d/1.cfg": "GRUB_CMDLINE_LINUX=cloud-init=disabled\n",
		"etc/kernel/cmdline": "nm-cloud-seed=off", "boot/loader/entries/x.conf": "options cloud-init=disabled\n",
	}, []Check{
		{"kernel.command-line", Problem, "the kernel command line switches off what is needed:", []string{
			"cloud-init=disabled in /boot/grub/grub.cfg", "cloud-init=disabled in /boot/grub2/grub.cfg", "nm-cloud-seed=off in /boot/grub2/grub.cfg",
			"nm-cloud-seed=off in /etc/default/grub", "cloud-init=disabled in /etc/default/grub.d/1.cfg", "nm-cloud-seed=off in /etc/kernel/cmdline",
			"cloud-init=disabled in /boot/loader/entries/x.conf",
		}, "take it out there, then chroot /image update-grub"},
	}},
	{"other words on the kernel command line", map[string]string{
		"boot/grub/grub.cfg": "  # linux /vmlinuz cloud-init=disabled\nlinux /vmlinuz xcloud-init=disabled nm-cloud-seed=offline cloud-init=enabled\n", "etc/kernel/cmdline": "|", "etc/default/grub.d": "|",
	}, nil},
	{"no NetworkManager", map[string]string{unitDir + "NetworkManager.service": "-"}, []Check{
		{"NetworkManager.installed", Problem, "there is no NetworkManager.service", nil, "chroot /image apt-get install -y network-manager"},
		skip("NetworkManager.started", "NetworkManager.installed"),
		skip("NetworkManager.dbus", "NetworkManager.installed"),
		skip("NetworkManager.devices", "NetworkManager.installed"),
		skip("cloud-init.network", "NetworkManager.started"),
		skip("ordering.deadlock", "NetworkManager.started"),
		skip("ordering.plan", "NetworkManager.started"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"NetworkManager masked", map[string]string{"etc/systemd/system/NetworkManager.service": link + "/dev/null"}, []Check{
		{"NetworkManager.installed", Problem, "NetworkManager.service is masked by /etc/systemd/system/NetworkManager.service", nil, "systemctl --root=/image unmask NetworkManager.service"},
		skip("NetworkManager.started", "NetworkManager.installed"),
		skip("NetworkManager.dbus", "NetworkManager.installed"),
		skip("NetworkManager.devices", "NetworkManager.installed"),
		skip("cloud-init.network", "NetworkManager.started"),
		skip("ordering.deadlock", "NetworkManager.started"),
		skip("ordering.plan", "NetworkManager.started"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"NetworkManager not started", map[string]string{unitDir + "multi-user.target": "[Unit]\nWants=sysinit.target basic.target app.service\n"}, []Check{
		{"NetworkManager.started", Problem, "NetworkManager.service is not started at boot", nil, "systemctl --root=/image enable NetworkManager.service"},
		skip("cloud-init.network", "NetworkManager.started"),
		skip("ordering.deadlock", "NetworkManager.started"),
		skip("ordering.plan", "NetworkManager.started"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"no D-Bus", map[string]string{unitDir + "sockets.target": "[Unit]\n"}, []Check{
		{"NetworkManager.dbus", Problem, "dbus.socket is not started at boot", nil, "ln -s ../dbus.socket /image/usr/lib/systemd/system/sockets.target.wants/"},
	}},
	{"other networks", map[string]string{wants + "systemd-networkd.service": wanted, unitDir + "systemd-networkd.service": unit, wants + "networking.service": wanted, unitDir + "networking.service": unit}, []Check{
		{"NetworkManager.alone", Warning, "also started at boot: systemd-networkd.service networking.service", nil, "systemctl --root=/image disable systemd-networkd.service networking.service, unless they leave the VM's devices alone"},
		{"ordering.held", OK, "services, timers and sockets that wait for cloud-init's network stage: 3", []string{"app.service", "networking.service", "systemd-networkd.service"}, ""},
	}},
	{"no cloud-init", map[string]string{unitDir + "cloud-init.service": "-", "usr/bin/apt-get": "-"}, []Check{
		{"cloud-init.installed", Problem, "there is no cloud-init.service", nil, "install the package cloud-init in the image"},
		skip("cloud-init.version", "cloud-init.installed"),
		skip("cloud-init.enabled", "cloud-init.installed"),
		skip("cloud-init.configuration", "cloud-init.installed"),
		skip("cloud-init.datasources", "cloud-init.installed"),
		skip("cloud-init.seeds", "cloud-init.installed"),
		skip("cloud-init.network", "cloud-init.installed"),
		skip("cloud-init.dhcp-client", "cloud-init.installed"),
		skip("ordering.deadlock", "cloud-init.installed"),
		skip("ordering.plan", "cloud-init.installed"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"cloud-init masked", map[string]string{"etc/systemd/system/cloud-init.service": link + "/dev/null"}, []Check{
		{"cloud-init.installed", Problem, "cloud-init.service is masked by /etc/systemd/system/cloud-init.service", nil, "systemctl --root=/image unmask cloud-init.service"},
		skip("cloud-init.version", "cloud-init.installed"),
		skip("cloud-init.enabled", "cloud-init.installed"),
		skip("cloud-init.configuration", "cloud-init.installed"),
		skip("cloud-init.datasources", "cloud-init.installed"),
		skip("cloud-init.seeds", "cloud-init.installed"),
		skip("cloud-init.network", "cloud-init.installed"),
		skip("cloud-init.dhcp-client", "cloud-init.installed"),
		skip("ordering.deadlock", "cloud-init.installed"),
		skip("ordering.plan", "cloud-init.installed"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"an old cloud-init", map[string]string{python + "version.py": "__VERSION__ = \"22.3\"\n"}, []Check{
		{"cloud-init.version", Problem, "22.3 is older than 22.4, the oldest that was seen to work", nil, "install cloud-init 22.4 or newer, or a newer release of the distribution"},
	}},
	{"a distribution's version", map[string]string{python + "version.py": "__VERSION__ = \"22.4\"\n_PACKAGED_VERSION = \"22.4-9ubuntu1\"\n"}, []Check{
		{"cloud-init.version", OK, "22.4-9ubuntu1", nil, ""},
	}},
	{"a version by meson", map[string]string{python + "version.py": "    __VERSION__ = meson_versions.UPSTREAM_VERSION\n    __VERSION__ = \"@MISSING@\"\n", python + "meson_versions.py": "UPSTREAM_VERSION = \"26.2\"  # x\nDOWNSTREAM_VERSION = \"@X@\"\n"}, []Check{
		{"cloud-init.version", OK, "26.2", nil, ""},
	}},
	{"no version", map[string]string{python + "version.py": "-"}, []Check{
		{"cloud-init.version", Warning, "unknown: there is no cloudinit/version.py in /usr/lib/python3*/*-packages that says it", nil, "see that it is 22.4 or newer"},
	}},
	{"cloud-init disabled", map[string]string{"etc/cloud/cloud-init.disabled": ""}, []Check{
		{"cloud-init.enabled", Problem, "/etc/cloud/cloud-init.disabled exists", nil, "rm /image/etc/cloud/cloud-init.disabled"},
	}},
	{"a stage masked", map[string]string{"etc/systemd/system/cloud-final.service": ""}, []Check{
		{"cloud-init.enabled", Problem, "cloud-final.service is masked by /etc/systemd/system/cloud-final.service", nil, "systemctl --root=/image unmask cloud-final.service"},
	}},
	{"a stage not started", map[string]string{unitDir + "cloud-init.target.wants/cloud-config.service": "-"}, []Check{
		{"cloud-init.enabled", Problem, "cloud-config.service is not started at boot", nil, "systemctl --root=/image enable cloud-config.service"},
	}},
	{"no cloud.cfg", map[string]string{"etc/cloud/cloud.cfg": "-"}, []Check{
		{"cloud-init.configuration", Problem, "cannot read cloud-init's configuration: there is no /etc/cloud/cloud.cfg", nil, "restore the file from the package cloud-init"},
		{"cloud-init.datasources", Info, "cloud-init's own list: CloudStack is found by its firmware, on KVM only", nil, `for VMware and Xen write exactly "datasource_list: [ CloudStack ]" to /image/etc/cloud/cloud.cfg.d/90-cloudstack.cfg`},
	}},
	{"files that are odd", map[string]string{"etc/cloud/cloud.cfg.d/1.cfg": "password: SECRET: x\n", "etc/cloud/ds-identify.cfg": "policy: enabled\n"}, []Check{
		{"cloud-init.configuration", Warning, "what follows holds unless these matter:", []string{"cloud-init skips /etc/cloud/cloud.cfg.d/1.cfg: not YAML", "/etc/cloud/ds-identify.cfg may decide about datasources, and is not read here"}, "mend the files, or remove what is not needed"},
	}},
	{"no datasource list", map[string]string{"etc/cloud/cloud.cfg": ""}, []Check{
		{"cloud-init.datasources", Info, "cloud-init's own list: CloudStack is found by its firmware, on KVM only", nil, `for VMware and Xen write exactly "datasource_list: [ CloudStack ]" to /image/etc/cloud/cloud.cfg.d/90-cloudstack.cfg`},
	}},
	{"a list on several lines", map[string]string{"etc/cloud/cloud.cfg": "datasource_list:\n- CloudStack\n"}, []Check{
		{"cloud-init.datasources", Warning, "datasource_list at /etc/cloud/cloud.cfg:1 is not read by every cloud-init's generator (ds-identify), which then takes its own list", nil, `write exactly "datasource_list: [ CloudStack ]" there`},
	}},
	{"a list that 22.4.2 does not read", map[string]string{"etc/cloud/cloud.cfg.d/1.cfg": "datasource_list: [ CloudStack ] # VMware\n"}, []Check{
		{"cloud-init.datasources", Warning, "datasource_list at /etc/cloud/cloud.cfg.d/1.cfg:1 is not read by every cloud-init's generator (ds-identify), which then takes its own list", nil, `write exactly "datasource_list: [ CloudStack ]" there`},
	}},
	{"a comment that newer versions take for a list", map[string]string{"etc/cloud/cloud.cfg.d/1.cfg": "\n # datasource_list: [ X ]\n"}, []Check{
		{"cloud-init.datasources", Warning, "datasource_list at /etc/cloud/cloud.cfg.d/1.cfg:2 is not read by every cloud-init's generator (ds-identify), which then takes its own list", nil, `write exactly "datasource_list: [ CloudStack ]" there`},
	}},
	{"a list without CloudStack", map[string]string{"etc/cloud/cloud.cfg.d/90_dpkg.cfg": "# x\ndatasource_list: [ NoCloud, None ]\n"}, []Check{
		{"cloud-init.datasources", Problem, "[ NoCloud, None ] at /etc/cloud/cloud.cfg.d/90_dpkg.cfg:2 is without CloudStack", nil, `write exactly "datasource_list: [ CloudStack ]" there`},
	}},
	{"a longer list, and a seed", map[string]string{"etc/cloud/cloud.cfg": "datasource_list: [ NoCloud, CloudStack ]\n", "var/lib/cloud/seed/nocloud/meta-data": "", "var/lib/cloud/seed/nocloud-net/x": ""}, []Check{
		{"cloud-init.datasources", Info, "[ NoCloud, CloudStack ] at /etc/cloud/cloud.cfg:1: CloudStack is found by its firmware, on KVM only", nil, `for VMware and Xen write exactly "datasource_list: [ CloudStack ]" there`},
		{"cloud-init.seeds", Problem, "cloud-init may take the VM's data from /var/lib/cloud/seed/nocloud /var/lib/cloud/seed/nocloud-net instead of CloudStack", nil, `rm -r /image/var/lib/cloud/seed/nocloud /image/var/lib/cloud/seed/nocloud-net, or write exactly "datasource_list: [ CloudStack ]" at /etc/cloud/cloud.cfg:1`},
	}},
	{"a seed, and a list that is not read", map[string]string{"etc/cloud/cloud.cfg": "", "etc/cloud/cloud.cfg.d/95.cfg": "datasource_list:\n- NoCloud\n", "var/lib/cloud/seed/nocloud/meta-data": ""}, []Check{
		{"cloud-init.datasources", Warning, "datasource_list at /etc/cloud/cloud.cfg.d/95.cfg:1 is not read by every cloud-init's generator (ds-identify), which then takes its own list", nil, `write exactly "datasource_list: [ CloudStack ]" there`},
		{"cloud-init.seeds", Problem, "cloud-init may take the VM's data from /var/lib/cloud/seed/nocloud instead of CloudStack", nil, `rm -r /image/var/lib/cloud/seed/nocloud, or write exactly "datasource_list: [ CloudStack ]" at /etc/cloud/cloud.cfg.d/95.cfg:1`},
	}},
	{"a seed, and no list", map[string]string{"etc/cloud/cloud.cfg": "", "var/lib/cloud/seed/nocloud/meta-data": ""}, []Check{
		{"cloud-init.datasources", Info, "cloud-init's own list: CloudStack is found by its firmware, on KVM only", nil, `for VMware and Xen write exactly "datasource_list: [ CloudStack ]" to /image/etc/cloud/cloud.cfg.d/90-cloudstack.cfg`},
		{"cloud-init.seeds", Problem, "cloud-init may take the VM's data from /var/lib/cloud/seed/nocloud instead of CloudStack", nil, `rm -r /image/var/lib/cloud/seed/nocloud, or write exactly "datasource_list: [ CloudStack ]" to /image/etc/cloud/cloud.cfg.d/90-cloudstack.cfg`},
	}},
	{"a seed that nobody reads", map[string]string{"var/lib/cloud/seed/nocloud/meta-data": ""}, []Check{
		{"cloud-init.seeds", Info, "not looked at, since CloudStack is the only datasource: /var/lib/cloud/seed/nocloud", nil, ""},
	}},
	{"a list with None", map[string]string{"etc/cloud/cloud.cfg": "datasource_list: [ CloudStack, None ]\n"}, []Check{
		{"cloud-init.datasources", Info, "[ CloudStack, None ] at /etc/cloud/cloud.cfg:1: CloudStack is found by its firmware, on KVM only", nil, `for VMware and Xen write exactly "datasource_list: [ CloudStack ]" there`},
	}},
	{"network switched off", map[string]string{"etc/cloud/cloud.cfg.d/1.cfg": "network: {config: disabled}\n"}, []Check{
		{"cloud-init.network", OK, "switched off at /etc/cloud/cloud.cfg.d/1.cfg:1: nm-cloud-seed connects the VM until there is a profile", nil, ""},
	}},
	{"netplan", map[string]string{"usr/sbin/netplan": "", "etc/netplan/1.yaml": "network: {version: 2}\n"}, []Check{
		{"cloud-init.network", Problem, "cloud-init writes for netplan, which configures systemd-networkd and not NetworkManager", nil, `write "network: {version: 2, renderer: NetworkManager}" to /image/etc/netplan/01-network-manager.yaml, mode 600`},
	}},
	{"netplan for NetworkManager", map[string]string{"usr/sbin/netplan": "", "lib/netplan/00.yaml": "network: {renderer: NetworkManager}\n", "etc/netplan/50.yaml": "network: {version: 2}\n"}, []Check{
		{"cloud-init.network", OK, "cloud-init writes for netplan, which writes profiles for NetworkManager", nil, ""},
	}},
	{"netplan, a later file", map[string]string{"usr/sbin/netplan": "", "lib/netplan/00.yaml": "network: {renderer: NetworkManager}\n", "etc/netplan/50.yaml": "network: {renderer: networkd}\n"}, []Check{
		{"cloud-init.network", Problem, "cloud-init writes for netplan, which configures systemd-networkd and not NetworkManager", nil, `write "renderer: NetworkManager" in /image/etc/netplan/50.yaml`},
	}},
	{"netplan, a device for networkd", map[string]string{
		"usr/sbin/netplan": "", "etc/netplan/1.yaml": "network: {renderer: NetworkManager, ethernets: {eth0: {renderer: networkd}, eth1: {renderer: networkd}, eth2: {}}}\n",
		"etc/netplan/2.yaml": "network: {ethernets: {eth1: {renderer: NetworkManager}}}\n",
	}, []Check{
		{"cloud-init.network", Warning, "cloud-init writes for netplan, which writes profiles for NetworkManager, but leaves devices to systemd-networkd:", []string{"eth0 in /etc/netplan/1.yaml"}, `take "renderer: networkd" out there`},
	}},
	{"netplan, all wired devices for networkd", map[string]string{"usr/sbin/netplan": "", "etc/netplan/1.yaml": "network: {renderer: NetworkManager, ethernets: {renderer: networkd}}\n"}, []Check{
		{"cloud-init.network", Warning, "cloud-init writes for netplan, which writes profiles for NetworkManager, but leaves devices to systemd-networkd:", []string{"ethernets in /etc/netplan/1.yaml"}, `take "renderer: networkd" out there`},
	}},
	{"ifupdown", map[string]string{"usr/sbin/ifup": "", "sbin/ifdown": "", "sbin/ifquery": "", "etc/network/interfaces": ""}, []Check{
		{"cloud-init.network", Problem, "cloud-init writes /etc/network/interfaces.d for ifupdown, and NetworkManager leaves those devices alone", nil, `write "system_info: {network: {renderers: [network-manager]}}" to /image/etc/cloud/cloud.cfg.d/90-network-manager.cfg`},
	}},
	{"ifupdown, managed", map[string]string{"etc/NetworkManager/NetworkManager.conf": "[ifupdown]\nmanaged=false\n", "etc/NetworkManager/conf.d/1.conf": "[main]\nmanaged=false\n[ifupdown]\nmanaged = true\n", "usr/sbin/ifup": "", "sbin/ifdown": "", "sbin/ifquery": "", "etc/network/interfaces": ""}, []Check{
		{"cloud-init.network", OK, "cloud-init writes /etc/network/interfaces.d, which NetworkManager's ifupdown plugin takes over (managed=true)", nil, ""},
	}},
	{"ifupdown, but told otherwise", map[string]string{"etc/cloud/cloud.cfg.d/1.cfg": "system_info: {network: {renderers: [network-manager, eni]}}\n", "usr/sbin/ifup": "", "sbin/ifdown": "", "sbin/ifquery": "", "etc/network/interfaces": ""}, nil},
	{"a renderer that is not there", map[string]string{"etc/cloud/cloud.cfg.d/1.cfg": "system_info: {network: {renderers: [netplan]}}\n"}, []Check{
		{"cloud-init.network", Problem, "cloud-init finds no way to write network configuration, and fails", nil, "put network-manager first in the renderers at /etc/cloud/cloud.cfg.d/1.cfg:1"},
	}},
	{"networkd", map[string]string{"usr/bin/nmcli": "-", "bin/ip": "", "bin/systemctl": ""}, []Check{
		{"cloud-init.network", Problem, "cloud-init writes for networkd, not for NetworkManager", nil, "chroot /image apt-get install -y network-manager"},
	}},
	{"before 24.1, without a file", map[string]string{"etc/NetworkManager/NetworkManager.conf": "-", python + "version.py": "__VERSION__ = \"23.4\"\n"}, []Check{
		{"cloud-init.version", OK, "23.4", nil, ""},
		{"cloud-init.network", Problem, "cloud-init finds no way to write network configuration, and fails", nil, "touch /image/etc/NetworkManager/NetworkManager.conf, which cloud-init before 24.1 wants"},
	}},
	{"another distribution", map[string]string{"etc/os-release": "ID=almalinux\nID_LIKE=\"rhel centos fedora\"\nPRETTY_NAME='Alma'\n"}, []Check{
		{"image", OK, "Alma", nil, ""},
		{"cloud-init.network", Info, "not known for this distribution: its cloud-init may write ifcfg files", nil, ""},
	}},
	{"Ubuntu's wired devices", map[string]string{"usr/lib/NetworkManager/conf.d/10-x.conf": "[keyfile]\nunmanaged-devices=*,except:type:wifi\n"}, []Check{
		{"NetworkManager.devices", Problem, "NetworkManager leaves wired devices alone, so that nobody connects the VM:", []string{"unmanaged-devices in /usr/lib/NetworkManager/conf.d/10-x.conf: *"}, "touch /image/etc/NetworkManager/conf.d/10-x.conf, which takes its place"},
	}},
	{"told otherwise in /etc", map[string]string{"usr/lib/NetworkManager/conf.d/10-x.conf": "[keyfile]\nunmanaged-devices=*\n", "etc/NetworkManager/conf.d/10-x.conf": ""}, nil},
	{"told otherwise by netplan", map[string]string{"usr/lib/NetworkManager/conf.d/10-globally-managed-devices.conf": "[keyfile]\nunmanaged-devices=*\n", "usr/sbin/netplan": "", "etc/netplan/1.yaml": "network: {renderer: NetworkManager}\n"}, []Check{
		{"cloud-init.network", OK, "cloud-init writes for netplan, which writes profiles for NetworkManager", nil, ""},
	}},
	{"what netplan does not hide", map[string]string{"usr/lib/NetworkManager/conf.d/10-x.conf": "[keyfile]\nunmanaged-devices=*\n", "usr/sbin/netplan": "", "etc/netplan/1.yaml": "network: {renderer: NetworkManager}\n"}, []Check{
		{"NetworkManager.devices", Problem, "NetworkManager leaves wired devices alone, so that nobody connects the VM:", []string{"unmanaged-devices in /usr/lib/NetworkManager/conf.d/10-x.conf: *"}, "touch /image/etc/NetworkManager/conf.d/10-x.conf, which takes its place"},
		{"cloud-init.network", OK, "cloud-init writes for netplan, which writes profiles for NetworkManager", nil, ""},
	}},
	{"what hides netplan's", map[string]string{"etc/NetworkManager/conf.d/10-globally-managed-devices.conf": "[keyfile]\nunmanaged-devices=*\n", "usr/sbin/netplan": "", "etc/netplan/1.yaml": "network: {renderer: NetworkManager}\n"}, []Check{
		{"NetworkManager.devices", Problem, "NetworkManager leaves wired devices alone, so that nobody connects the VM:", []string{"unmanaged-devices in /etc/NetworkManager/conf.d/10-globally-managed-devices.conf: *"}, "take that out there"},
		{"cloud-init.network", OK, "cloud-init writes for netplan, which writes profiles for NetworkManager", nil, ""},
	}},
	{"a wired device is excepted", map[string]string{"etc/NetworkManager/NetworkManager.conf": "[keyfile]\nunmanaged-devices=*;except:type:ethernet\n"}, nil},
	{"other devices than wired ones", map[string]string{"etc/NetworkManager/NetworkManager.conf": "[keyfile]\nunmanaged-devices=type:wifi;type:bridge\n[device]\nmatch-device=type:wifi\nmanaged=0\n"}, nil},
	{"but one", map[string]string{"etc/NetworkManager/NetworkManager.conf": "[keyfile]\nunmanaged-devices=except:type:wifi,except:interface-name:eth0\n"}, []Check{
		{"NetworkManager.devices", Problem, "NetworkManager leaves wired devices alone, so that nobody connects the VM:", []string{"unmanaged-devices in /etc/NetworkManager/NetworkManager.conf: *"}, "take that out there"},
	}},
	{"unmanaged by their names", map[string]string{"etc/NetworkManager/NetworkManager.conf": "[keyfile]\nunmanaged-devices=interface-name:e*\n"}, []Check{
		{"NetworkManager.devices", Warning, "NetworkManager may leave wired devices alone:", []string{"unmanaged-devices in /etc/NetworkManager/NetworkManager.conf: interface-name:e*"}, "take that out there"},
	}},
	{"unmanaged by one name", map[string]string{"etc/NetworkManager/NetworkManager.conf": "[device1]\nmatch-device=interface-name:=eth0\nmanaged=off\n"}, []Check{
		{"NetworkManager.devices", Warning, "NetworkManager may leave wired devices alone:", []string{"[device1] in /etc/NetworkManager/NetworkManager.conf: interface-name:=eth0"}, "take that out there"},
	}},
	{"added and taken away", map[string]string{
		"etc/NetworkManager/NetworkManager.conf": "[keyfile]\nunmanaged-devices=type:ethernet;mac:00:11:22:33:44:55\nunmanaged-devices-=mac:00:11:22:33:44:55\n",
		"etc/NetworkManager/conf.d/1.conf":       "[keyfile]\nunmanaged-devices-=type:ethernet\nunmanaged-devices+=*\nunmanaged-devices -=*\n",
	}, []Check{
		{"NetworkManager.devices", Problem, "NetworkManager leaves wired devices alone, so that nobody connects the VM:", []string{"unmanaged-devices in /etc/NetworkManager/conf.d/1.conf: *"}, "take that out there"},
	}},
	{"replaced", map[string]string{"usr/lib/NetworkManager/conf.d/1.conf": "[keyfile]\nunmanaged-devices=*\n[device]\nmanaged=0\n", "etc/NetworkManager/conf.d/2.conf": "[keyfile]\nunmanaged-devices=\n[device]\nmanaged=true\n"}, nil},
	{"a section for all", map[string]string{"etc/NetworkManager/conf.d/1.conf": "[device-all]\nmatch-device=type:ethernet\nmanaged=0\n"}, []Check{
		{"NetworkManager.devices", Problem, "NetworkManager leaves wired devices alone, so that nobody connects the VM:", []string{"[device-all] in /etc/NetworkManager/conf.d/1.conf: type:ethernet"}, "take that out there"},
	}},
	{"sections for some", map[string]string{"etc/NetworkManager/conf.d/1.conf": "[device]\nmanaged=No\n[device2]\nmatch-device=driver:virtio_net;what?\nmanaged=false\n"}, []Check{
		{"NetworkManager.devices", Problem, "NetworkManager leaves wired devices alone, so that nobody connects the VM:", []string{"[device2] in /etc/NetworkManager/conf.d/1.conf: driver:virtio_net", "[device2] in /etc/NetworkManager/conf.d/1.conf: what?", "[device] in /etc/NetworkManager/conf.d/1.conf: *"}, "take that out there"},
	}},
	{"names that no wired device has", map[string]string{"etc/NetworkManager/NetworkManager.conf": "[keyfile]\nunmanaged-devices=interface-name:docker*;interface-name:veth*;interface-name:~br-?;interface-name:=x\n"}, []Check{
		{"NetworkManager.devices", Info, "NetworkManager leaves devices alone that hardly are a VM's wired ones:", []string{
			"unmanaged-devices in /etc/NetworkManager/NetworkManager.conf: interface-name:docker*", "unmanaged-devices in /etc/NetworkManager/NetworkManager.conf: interface-name:veth*",
			"unmanaged-devices in /etc/NetworkManager/NetworkManager.conf: interface-name:~br-?", "unmanaged-devices in /etc/NetworkManager/NetworkManager.conf: interface-name:=x",
		}, ""},
	}},
	{"dhcpcd before 24.1", map[string]string{"usr/sbin/dhcpcd": "", python + "version.py": "__VERSION__ = \"23.4\"\n"}, []Check{
		{"cloud-init.version", OK, "23.4", nil, ""},
		{"cloud-init.dhcp-client", OK, "dhcpcd", nil, ""},
	}},
	{"dhclient", map[string]string{"sbin/dhclient": ""}, []Check{
		{"cloud-init.dhcp-client", OK, "dhclient", nil, ""},
	}},
	{"dhcpcd", map[string]string{"usr/sbin/dhcpcd": ""}, []Check{
		{"cloud-init.dhcp-client", Info, "dhcpcd: cloud-init 24.1 to 25.1 can crash asking it for the virtual router, which nm-cloud-seed prevents", nil, ""},
	}},
	{"dhcpcd and systemd-networkd", map[string]string{"usr/sbin/dhcpcd": "", wants + "systemd-networkd.service": wanted, unitDir + "systemd-networkd.service": unit}, []Check{
		{"NetworkManager.alone", Warning, "also started at boot: systemd-networkd.service", nil, "systemctl --root=/image disable systemd-networkd.service, unless they leave the VM's devices alone"},
		{"cloud-init.dhcp-client", Warning, "dhcpcd: cloud-init 24.1 to 25.1 can crash asking it for the virtual router; where systemd-networkd runs a device, nm-cloud-seed cannot prevent that", nil, "systemctl --root=/image disable systemd-networkd.service"},
		{"ordering.held", OK, "services, timers and sockets that wait for cloud-init's network stage: 2", []string{"app.service", "systemd-networkd.service"}, ""},
	}},
	{"a local stage with DHCP", map[string]string{"usr/sbin/udhcpc": link + "/bin/busybox", python + "version.py": "__VERSION__ = \"25.2\"\n"}, []Check{
		{"cloud-init.version", OK, "25.2", nil, ""},
		{"cloud-init.dhcp-client", Info, "udhcpc: cloud-init's local stage takes a lease with it, and would look for the virtual router before NetworkManager starts, which nm-cloud-seed prevents", nil, ""},
	}},
	{"the package is not there", map[string]string{"usr/bin/nm-cloud-seed": "-", "usr/lib/systemd/system-generators/nm-cloud-seed-generator": "-", unitDir + "nm-cloud-seed.service": "-", unitDir + "nm-cloud-seed-cleanup.service": "-", unitDir + "nm-cloud-seed-ssh-keys.service": "-", unitDir + "nm-cloud-seed-heal.service": "-", unitDir + "nm-cloud-seed-stages.service": "-", unitDir + "nm-cloud-seed-bus.service": "-"}, []Check{
		{"nm-cloud-seed.installed", Problem, "the package is not installed", nil, "cp nm-cloud-seed_*_$(chroot /image dpkg --print-architecture).deb /image/tmp/nm-cloud-seed.deb && chroot /image apt-get install --reinstall -y /tmp/nm-cloud-seed.deb"},
		skip("nm-cloud-seed.configuration", "nm-cloud-seed.installed"),
		skip("nm-cloud-seed.switched-on", "nm-cloud-seed.installed"),
		skip("nm-cloud-seed.drop-in", "nm-cloud-seed.installed"),
		{"ordering.deadlock", Problem, "cloud-init looks for CloudStack without a network: cloud-init.service before sysinit.target before NetworkManager.service", nil, "see to nm-cloud-seed, which changes that order at boot"},
		skip("ordering.plan", "nm-cloud-seed.installed"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"half a package", map[string]string{"usr/bin/nm-cloud-seed": "-"}, []Check{
		{"nm-cloud-seed.installed", Problem, "not complete, without /usr/bin/nm-cloud-seed", nil, "cp nm-cloud-seed_*_$(chroot /image dpkg --print-architecture).deb /image/tmp/nm-cloud-seed.deb && chroot /image apt-get install --reinstall -y /tmp/nm-cloud-seed.deb"},
		skip("nm-cloud-seed.configuration", "nm-cloud-seed.installed"),
		skip("nm-cloud-seed.switched-on", "nm-cloud-seed.installed"),
		skip("nm-cloud-seed.drop-in", "nm-cloud-seed.installed"),
		{"ordering.deadlock", Problem, "cloud-init looks for CloudStack without a network: cloud-init.service before sysinit.target before NetworkManager.service", nil, "see to nm-cloud-seed, which changes that order at boot"},
		skip("ordering.plan", "nm-cloud-seed.installed"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"generator masked", map[string]string{"etc/systemd/system-generators/nm-cloud-seed-generator": link + "/dev/null"}, []Check{
		{"nm-cloud-seed.installed", Problem, "the generator is replaced or masked by /etc/systemd/system-generators/nm-cloud-seed-generator", nil, "rm /image/etc/systemd/system-generators/nm-cloud-seed-generator"},
		skip("nm-cloud-seed.configuration", "nm-cloud-seed.installed"),
		skip("nm-cloud-seed.switched-on", "nm-cloud-seed.installed"),
		skip("nm-cloud-seed.drop-in", "nm-cloud-seed.installed"),
		{"ordering.deadlock", Problem, "cloud-init looks for CloudStack without a network: cloud-init.service before sysinit.target before NetworkManager.service", nil, "see to nm-cloud-seed, which changes that order at boot"},
		skip("ordering.plan", "nm-cloud-seed.installed"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"first boot", map[string]string{"etc/machine-id": "uninitialized\n"}, []Check{
		{"left-overs.machine-id", OK, "uninitialized: each VM makes its own", nil, ""},
	}},
	{"first boot, systemd-networkd preset", map[string]string{"etc/machine-id": "uninitialized\n", unitDir + "systemd-networkd.service": unit,
		"usr/lib/systemd/system-preset/90-systemd.preset": "# all\ndisable a.service\nenable systemd-networkd.service\n"}, []Check{
		{"left-overs.machine-id", Warning, "/etc/machine-id is uninitialized: in each VM's first boot systemd enables, by its presets, systemd-networkd.service", nil, "truncate -s 0 /image/etc/machine-id"},
	}},
	{"first boot, no preset", map[string]string{"etc/machine-id": "uninitialized\n", unitDir + "systemd-networkd.service": unit}, []Check{
		{"left-overs.machine-id", Warning, "/etc/machine-id is uninitialized: in each VM's first boot systemd enables, by its presets, systemd-networkd.service", nil, "truncate -s 0 /image/etc/machine-id"},
	}},
	{"first boot, preset off", map[string]string{"etc/machine-id": "uninitialized\n", unitDir + "systemd-networkd.service": unit,
		"usr/lib/systemd/system-preset/90-systemd.preset": "enable systemd-networkd.service\n", "etc/systemd/system-preset/00-nm.preset": "disable systemd-networkd*\n"}, []Check{
		{"left-overs.machine-id", OK, "uninitialized: each VM makes its own", nil, ""},
	}},
	{"half an rpm", map[string]string{"usr/bin/apt-get": "-", "usr/bin/nm-cloud-seed": "-"}, []Check{
		{"nm-cloud-seed.installed", Problem, "not complete, without /usr/bin/nm-cloud-seed", nil, "install nm-cloud-seed-*.rpm in the image"},
		skip("nm-cloud-seed.configuration", "nm-cloud-seed.installed"),
		skip("nm-cloud-seed.switched-on", "nm-cloud-seed.installed"),
		skip("nm-cloud-seed.drop-in", "nm-cloud-seed.installed"),
		{"ordering.deadlock", Problem, "cloud-init looks for CloudStack without a network: cloud-init.service before sysinit.target before NetworkManager.service", nil, "see to nm-cloud-seed, which changes that order at boot"},
		skip("ordering.plan", "nm-cloud-seed.installed"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"the service masked", map[string]string{"etc/systemd/system/nm-cloud-seed.service": link + "/dev/null"}, []Check{
		{"nm-cloud-seed.installed", Problem, "nm-cloud-seed.service is masked by /etc/systemd/system/nm-cloud-seed.service", nil, "systemctl --root=/image unmask nm-cloud-seed.service"},
		skip("nm-cloud-seed.configuration", "nm-cloud-seed.installed"),
		skip("nm-cloud-seed.switched-on", "nm-cloud-seed.installed"),
		skip("nm-cloud-seed.drop-in", "nm-cloud-seed.installed"),
		{"ordering.deadlock", Problem, "cloud-init looks for CloudStack without a network: cloud-init.service before sysinit.target before NetworkManager.service", nil, "see to nm-cloud-seed, which changes that order at boot"},
		skip("ordering.plan", "nm-cloud-seed.installed"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"mistakes in the configuration", map[string]string{"etc/nm-cloud-seed.conf": "[main]\nplattform=x\ndeadline=soon\n"}, []Check{
		{"nm-cloud-seed.configuration", Problem, "there are mistakes", []string{`cannot read configuration: /etc/nm-cloud-seed.conf:2: unknown key "plattform" in [main] (known: check-instance-id, deadline, heal, log-level, ordering, password, platform, ssh-keys)`, `cannot read configuration: /etc/nm-cloud-seed.conf:3: bad value "soon" of deadline in [main] (want whole seconds from 10 to 3600)`}, "mend the lines"},
	}},
	{"platform=none", map[string]string{"etc/nm-cloud-seed.conf": "[main]\nplatform=none\n"}, []Check{
		{"nm-cloud-seed.switched-on", Problem, "switched off by platform=none: nothing is done", nil, "remove that line from /image/etc/nm-cloud-seed.conf, or the file in /image/etc/nm-cloud-seed.conf.d or /image/usr/lib/nm-cloud-seed/conf.d that has it"},
		skip("ordering.plan", "nm-cloud-seed.switched-on"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"ordering=off", map[string]string{"etc/nm-cloud-seed.conf": "[main]\nordering=off\n"}, []Check{
		{"nm-cloud-seed.switched-on", Problem, "switched off by ordering=off: nothing is done", nil, "remove that line from /image/etc/nm-cloud-seed.conf, or the file in /image/etc/nm-cloud-seed.conf.d or /image/usr/lib/nm-cloud-seed/conf.d that has it"},
		{"ordering.deadlock", Problem, "cloud-init looks for CloudStack without a network: cloud-init.service before sysinit.target before NetworkManager.service", nil, "see to nm-cloud-seed, which changes that order at boot"},
		skip("ordering.plan", "nm-cloud-seed.switched-on"),
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"no drop-in", map[string]string{"etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg": ""}, []Check{
		{"nm-cloud-seed.drop-in", Warning, "/etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg does not lead to /run/nm-cloud-seed/private/cloud.cfg: after a failure, cloud-init searches another two minutes; on a network without a domain, the FQDN ends in .localdomain", nil, "ln -sf /run/nm-cloud-seed/private/cloud.cfg /image/etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg"},
	}},
	{"a unit that cannot be read", map[string]string{unitDir + "y.service": "|"}, []Check{
		{"ordering.units", Warning, "some units could not be read, what follows is without them", []string{"cannot read /usr/lib/systemd/system/y.service: not a regular file"}, "mend the files, or remove them"},
	}},
	{"a cycle", map[string]string{unitDir + "app.service": "[Unit]\nAfter=b.service\nWants=b.service\n[Service]\nExecStart=/x\n", unitDir + "b.service": "[Unit]\nAfter=app.service\n[Service]\nExecStart=/x\n"}, []Check{
		{"ordering.cycles", Problem, "there are ordering cycles, in which systemd leaves out a unit", []string{"app.service before b.service before app.service"}, "take one order (After=, Before=) out of each"},
	}},
	{"a cycle that the plan breaks", map[string]string{unitDir + "cloud-init.service.d/wait.conf": "[Unit]\nAfter=NetworkManager.service\n"}, []Check{
		{"ordering.cycles", Warning, "there are ordering cycles that nm-cloud-seed breaks; elsewhere than on CloudStack systemd leaves out a unit", []string{"NetworkManager.service before cloud-init.service before sysinit.target before NetworkManager.service"}, "take one order (After=, Before=) out of each"},
	}},
	{"the right order", map[string]string{unitDir + "cloud-init.service": "[Unit]\nDefaultDependencies=no\nAfter=NetworkManager.service\n[Service]\nExecStart=/x\n"}, []Check{
		{"ordering.deadlock", OK, "none: cloud-init's network stage does not come before NetworkManager", nil, ""},
		{"ordering.plan", OK, "ordering=late, the order is right already", []string{"changes cloud-init-local.service", "changes cloud-init.service", "starts nm-cloud-seed-cleanup.service", "starts nm-cloud-seed-heal.service", "starts nm-cloud-seed-ssh-keys.service", "starts nm-cloud-seed.service"}, ""},
		{"ordering.held", OK, "none has to", nil, ""},
		{"ordering.not-held", OK, "none", nil, ""},
	}},
	{"an order in the way", map[string]string{unitDir + "app.service": "[Unit]\nBefore=b.service\n[Service]\nExecStart=/x\n", unitDir + "b.service": "[Unit]\nDefaultDependencies=no\nBefore=NetworkManager.service\n[Service]\nExecStart=/x\n", wants + "b.service": wanted}, []Check{
		{"ordering.held", OK, "none has to", nil, ""},
		{"ordering.not-held", Info, "may start before cloud-init has made users and files, as they have to or always do:", []string{"NetworkManager.service: nm-cloud-seed.service waits for it", "app.service: nm-cloud-seed.service waits for it", "b.service: nm-cloud-seed.service waits for it"}, ""},
	}},
	{"through another unit", map[string]string{unitDir + "app.service": "[Unit]\nBefore=b.service\n[Service]\nExecStart=/x\n", unitDir + "b.service": "[Unit]\nDefaultDependencies=no\nBefore=cloud-init.service\n[Service]\nExecStart=/x\n"}, []Check{
		{"ordering.held", OK, "none has to", nil, ""},
		{"ordering.not-held", Warning, "may start before cloud-init has made users and files, as something orders them before it:", []string{"app.service before b.service before cloud-init.service"}, "take that order away (Before=, After=) where it is not meant"},
	}},
	{"NetworkManager waits for cloud-init", map[string]string{unitDir + "NetworkManager.service": "[Unit]\nAfter=cloud-init.service\nBefore=network.target\n[Service]\nExecStart=/x\n"}, []Check{
		{"ordering.deadlock", Problem, "cloud-init looks for CloudStack without a network: cloud-init.service before NetworkManager.service", nil, "see to nm-cloud-seed, which changes that order at boot"},
		{"ordering.plan", Problem, "nm-cloud-seed changes nothing", []string{"cloud-init's network stage cannot wait for NetworkManager, nothing is changed: NetworkManager.service before cloud-init.service before NetworkManager.service", "ordering=early would make a cycle, too: NetworkManager.service before nm-cloud-seed.service before cloud-init.service before NetworkManager.service"}, "take the order away that is in its way"},
		skip("ordering.held", "ordering.plan"),
		skip("ordering.not-held", "ordering.plan"),
	}},
	{"no machine-id", map[string]string{"etc/machine-id": "-"}, []Check{
		{"left-overs.machine-id", Warning, "there is no /etc/machine-id: systemd, which starts on a read-only disk, cannot make one", nil, "truncate -s 0 /image/etc/machine-id"},
	}},
	{"cloud-init has run", map[string]string{"var/lib/cloud/instance": link + "/var/lib/cloud/instances/x", "etc/machine-id": "0123456789abcdef0123456789abcdef\n"}, []Check{
		{"left-overs.instance", Warning, "cloud-init has run in this image: /var/lib/cloud/instance", nil, "chroot /image cloud-init clean --logs"},
		{"left-overs.machine-id", Warning, "/etc/machine-id is set: all VMs of this image have the same", nil, "truncate -s 0 /image/etc/machine-id"},
	}},
	{"D-Bus's machine-id", map[string]string{"var/lib/dbus/machine-id": "0123456789abcdef0123456789abcdef\n"}, []Check{
		{"left-overs.machine-id", Warning, "/var/lib/dbus/machine-id is set, which systemd takes: all VMs of this image have the same", nil, "rm /image/var/lib/dbus/machine-id"},
	}},
	{"both machine-ids", map[string]string{"etc/machine-id": "0123456789abcdef0123456789abcdef\n", "var/lib/dbus/machine-id": "0123456789abcdef0123456789abcdef\n"}, []Check{
		{"left-overs.machine-id", Warning, "/etc/machine-id is set: all VMs of this image have the same", nil, "truncate -s 0 /image/etc/machine-id && rm /image/var/lib/dbus/machine-id"},
	}},
	{"D-Bus's machine-id is a link", map[string]string{"var/lib/dbus/machine-id": link + "../../../etc/machine-id"}, nil},
	{"D-Bus's machine-id is empty", map[string]string{"var/lib/dbus/machine-id": "\n"}, nil},
	{"a seed of another VM", map[string]string{"var/lib/cloud/seed/cs/meta-data": "x"}, []Check{
		{"left-overs.seed", Problem, "/var/lib/cloud/seed/cs has another VM's data, which cloud-init takes for its own", nil, "rm -r /image/var/lib/cloud/seed/cs"},
	}},
	{"our seed's link", map[string]string{"var/lib/cloud/seed/cs": link + "/run/nm-cloud-seed/seed", "var/lib/cloud/seed/cs.before-nm-cloud-seed/x": ""}, nil},
}
