package qemu

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArgsOfAWholeMachine(t *testing.T) {
	args := Machine{
		Disk: "/a,b/disk", Kernel: "/k", Initrd: "/i", Append: "nm-cloud-seed=off", Console: "/a,b/console",
		Manufacturer: "Apache Software Foundation", Product: "Big, bigger", UUID: "7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e",
		MemoryMB: 2048,
	}.args(TCG, []wire{{"02:00:00:00:01:00", 3}, {"02:00:00:00:01:01", 4}})
	for _, want := range [][]string{
		{"-accel", "tcg", "-cpu", "Nehalem,cx16=off", "-smp", "1", "-m", "2048"},
		{"-chardev", "file,id=console,path=/a,,b/console", "-serial", "chardev:console"},
		{"-kernel", "/k", "-append", "root=/dev/nvme0n1 rw console=ttyS0 panic=-1 mitigations=off systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900 nm-cloud-seed=off"},
		{"-initrd", "/i"},
		{"-drive", "if=none,id=disk,format=raw,cache=unsafe,file=/a,,b/disk", "-device", "nvme,drive=disk,serial=1"},
		{"-smbios", "type=1,manufacturer=Apache Software Foundation,product=Big,, bigger,uuid=7d4f1f9a-58c1-4f5e-9a3c-3f0c5d9a1b2e"},
		{"-netdev", "tap,id=net0,fd=3", "-device", "virtio-net-pci,netdev=net0,mac=02:00:00:00:01:00,romfile="},
		{"-netdev", "tap,id=net1,fd=4", "-device", "virtio-net-pci,netdev=net1,mac=02:00:00:00:01:01,romfile="},
	} {
		i := slices.IndexFunc(args, func(s string) bool { return s == want[0] })
		for i >= 0 && i+len(want) <= len(args) && !slices.Equal(args[i:i+len(want)], want) {
			if next := slices.Index(args[i+1:], want[0]); next >= 0 {
				i += 1 + next
			} else {
				i = len(args)
			}
		}
		if i < 0 || i+len(want) > len(args) {
			t.Errorf("%q is not in %q", want, args)
		}
	}
}

func TestArgsLeaveOutWhatIsNotSet(t *testing.T) {
	got := strings.Join(Machine{Kernel: "/k", Console: "/c"}.args(KVM, nil), " ")
	want := "-nodefaults -no-user-config -display none -machine q35 -accel kvm -cpu max -smp 1 -m 1024 " +
		"-qmp stdio -no-reboot -chardev file,id=console,path=/c -serial chardev:console " +
		"-kernel /k -append root=/dev/nvme0n1 rw console=ttyS0 panic=-1 mitigations=off systemd.default_device_timeout_sec=900 systemd.default_timeout_start_sec=900 -device virtio-rng-pci"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestShutdownReasonIsReadFromQMP(t *testing.T) {
	const hello = `{"QMP": {"version": {}, "capabilities": []}}{"return": {}}`
	for messages, want := range map[string]string{
		"":          "",
		"no JSON":   "",
		hello:       "",
		hello + `{`: "",
		hello + `{"event": "RESUME"}` + "\n" +
			`{"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}`: "guest-shutdown",
		`{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}} {"event": "SHUTDOWN", "data": {"reason": "host-qmp-quit"}}`: "guest-reset",
	} {
		if got := shutdownReason(strings.NewReader(messages)); got != want {
			t.Errorf("%q for %s", got, messages)
		}
	}
}
