package main

import (
	"errors"
	"fmt"
	"strings"
)

// powerCuts are boots that end while a password is on its way, and those that
// follow. The virtual router forgets a password that is acknowledged, also over a
// power cut. cloud-init itself does not sync what it writes on a first boot, so
// none is cut in its network stage. Apart from that these are the plain machines: an
// image and the package, which their DMI tells what they are.
func powerCuts() []scenario {
	files := map[string]string{"/etc/fstab": "/dev/nvme0n1 / ext4 errors=remount-ro 0 1\n"}
	for _, name := range []string{"first", "second"} {
		files[guestReport+"/who/"+name+".password"] = passwords[name]
	}
	cutAt := func(what, reset string, at moment, more ...check) boot {
		b := boot{what: what, cut: &at, checks: append(more, check{"power cut", wasCut})}
		if reset != "" {
			b.vm = serves(reset, "")
		}
		return b
	}
	whole := func(what, password string, told int) boot {
		return boot{what: what, checks: plus(seeded, named, healthyHere, undisturbed, takenAway, isPassword(password), passwordRequests(true, told))}
	}
	again := func(b boot) boot {
		b.checks = append(b.checks, sameHost)
		return b
	}
	first := whole("first boot", "first", 1)
	first.vm = serves("first", "")
	return []scenario{
		{
			name: "qemu/bookworm/power-cut", about: "the power fails when a password was served, and when one is applied",
			suite: "bookworm", virtual: cloudStack, files: files,
			boots: []boot{
				cutAt("cut when it was served", "first", moment{request: "send_my_password", times: 2}, passwordRequests(true, 0)),
				whole("first boot", "first", 1),
				cutAt("cut while cloud-init applies a reset", "second", moment{console: "running 'modules:config'"}, passwordRequests(true, 0)),
				again(whole("reset", "second", 1)),
			},
		},
		{
			name: "qemu/sid/power-cut", about: "the power fails as soon as a password is acknowledged",
			suite: "sid", virtual: cloudStack, files: files,
			boots: []boot{
				first,
				cutAt("cut when a reset is acknowledged", "second", moment{request: "saved_password", times: 1}, passwordRequests(true, 1)),
				again(whole("reset", "second", 0)),
			},
		},
	}
}

// isPassword: of the two, this is debian's.
func isPassword(name string) check {
	return check{"password", func(r *report) error {
		other := map[string]string{"first": "second", "second": "first"}[name]
		for _, line := range []string{name + ": right, by SSH in", other + ": wrong, by SSH refused"} {
			if text := r.text("who-gets-in"); !strings.Contains(text, line) {
				return fmt.Errorf("it is not so that %s, but:\n%s", line, text)
			}
		}
		return nil
	}}
}

func wasCut(r *report) error {
	if !r.outcome.Cut {
		return errors.New("the system came to its end")
	}
	return nil
}
