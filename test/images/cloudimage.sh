# A cloud image as distributions have them: systemd-networkd, netplan, resolved.
: "${suite:?mkosiArchive says it}"
mkdir -p mkosi/mkosi.repart mkosi/mkosi.extra/etc/apt/sources.list.d mkosi/mkosi.extra/etc/systemd/system-preset
cp mkosi/mkosi.sandbox/etc/apt/sources.list.d/mkosi.sources "mkosi/mkosi.extra/etc/apt/sources.list.d/$suite.sources"
echo 'disable ssh.socket' >mkosi/mkosi.extra/etc/systemd/system-preset/00-ssh.preset
cat >mkosi/mkosi.conf <<END
[Distribution]
Distribution=debian
Release=$suite

[Output]
Format=disk

[Content]
Bootable=yes
BiosBootloader=grub
KernelCommandLine=console=ttyS0
Packages=apt,ca-certificates,cloud-guest-utils,cloud-init,dbus,debian-archive-keyring,grub-pc-bin
         linux-image-cloud-amd64,netplan.io,openssh-server,sudo,systemd-boot,systemd-resolved,systemd-sysv,udev
END
cat >mkosi/mkosi.repart/00-bios.conf <<END
[Partition]
Type=21686148-6449-6e6f-744e-656564454649
SizeMinBytes=1M
SizeMaxBytes=1M
END
cat >mkosi/mkosi.repart/10-esp.conf <<END
[Partition]
Type=esp
Format=vfat
CopyFiles=/boot:/
CopyFiles=/efi:/
SizeMinBytes=512M
END
# Room for what is installed into it.
cat >mkosi/mkosi.repart/20-root.conf <<END
[Partition]
Type=root
Format=ext4
CopyFiles=/
SizeMinBytes=2G
END
mkosi --directory mkosi build
qemu-img convert -O qcow2 mkosi/image.raw image.qcow2
