package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/boot/qemu"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// userData is for every boot; bootCommands would not work where cloud-init has
// another order in mind.
var (
	//go:embed userdata.yaml
	userData string
	//go:embed bootcmd.yaml
	bootCommands string
)

// A boot that takes longer hangs, and is killed. A container takes seconds and an
// emulated machine a minute; on a busy machine both take several times as long.
const (
	containerLimit = 10 * time.Minute
	virtualLimit   = 30 * time.Minute
)

// guestReport is where boot-report writes, a directory per boot.
const guestReport = "/var/lib/boot-report"

// world is a scenario in its lab.
type world struct {
	*lab.Lab
	scenario
	image     *image
	artifacts *os.Root // of the scenario; its path may be hidden in here
	vr        *vrtest.VR
	machine   qemu.Machine // if it is a virtual one
}

// inside does a scenario: its arguments are its name, the cached root, the
// directory for what it leaves, and the package, which may be missing.
func inside(ctx context.Context, args []string) error {
	s, err := find(args[0])
	if err != nil {
		return err
	}
	// All of these are opened before the lab's mounts, which may hide them.
	root, err := os.Open(args[1])
	if err != nil {
		return err
	}
	defer root.Close()
	artifacts, err := os.OpenRoot(args[2])
	if err != nil {
		return err
	}
	defer artifacts.Close()
	var pkg []byte
	if !s.bare {
		if pkg, err = os.ReadFile(args[3]); err != nil {
			return fmt.Errorf("cannot read the package: %w", err)
		}
	}
	if err := artifacts.Mkdir("lab", 0o755); err != nil {
		return err
	}
	l, err := lab.New(path.Join(args[2], "lab"), lab.Config{NoNM: true, NICs: networks(s.nics)})
	if err != nil {
		return err
	}
	w := &world{Lab: l, scenario: s, artifacts: artifacts, vr: vrtest.New()}
	return errors.Join(w.run(ctx, root, pkg), l.Close())
}

func (w *world) run(ctx context.Context, root *os.File, pkg []byte) (err error) {
	if err := mountCgroups(); err != nil {
		return err
	}
	if w.image, err = newImage(root); err != nil {
		return err
	}
	if err := w.image.fill(ctx, w.scenario, pkg); err != nil {
		return err
	}
	if err := w.examine(); err != nil {
		return err
	}
	if w.virtual != nil {
		if err := w.build(ctx); err != nil {
			return err
		}
	} else if w.machines {
		if err := w.part(ctx); err != nil {
			return err
		}
	}
	if err := w.serve(ctx); err != nil {
		return err
	}
	for n := range w.boots {
		// After one that did not come to its end, no other is worth its time.
		if ended, err := w.boot(ctx, n); err != nil || !ended {
			return err
		}
	}
	return nil
}

// serve starts the virtual router's metadata and password servers.
func (w *world) serve(ctx context.Context) error {
	if w.scenario.vr != nil {
		w.scenario.vr(w.vr)
	}
	for n := range w.devices() {
		if n != w.router && !w.machines {
			continue
		}
		if err := w.ServeVR(ctx, n, w.vr); err != nil {
			return err
		}
	}
	return nil
}

// vm is what the virtual router says in a boot.
func (w *world) vm(b boot) *vrtest.VM {
	vm := vrtest.Example(instance, w.ClientAddr(w.nicOf(b)))
	vm.Set("local-hostname", hostname)
	vm.UserData = []byte(cmp.Or(w.userData, userData+bootCommands))
	if b.vm != nil {
		b.vm(vm)
	}
	return vm
}

// boot does boot n and leaves all there is to know of it in a directory. A
// system that does not power off by itself is no error here.
func (w *world) boot(ctx context.Context, n int) (ended bool, err error) {
	b := w.boots[n]
	dir := bootDir(n, b)
	if err := w.artifacts.Mkdir(dir, 0o755); err != nil {
		return false, err
	}
	if err := w.powerOn(ctx, b); err != nil {
		return false, err
	}
	console, err := w.artifacts.Create(path.Join(dir, consoleFile))
	if err != nil {
		return false, err
	}
	defer console.Close()
	if n == 0 || b.vm != nil { // else it is as it was, and what was acknowledged is forgotten
		w.vr.SetVM(w.ClientAddr(w.nicOf(b)), w.vm(b))
	}
	w.vr.ResetLog()
	sofar := len(w.DHCPLog(w.nicOf(b)))
	over := func() error { return nil }
	if b.outage != nil {
		if over, err = w.breakDown(ctx, dir, *b.outage); err != nil {
			return false, err
		}
	}
	cmdline := append([]string{"systemd.wants=boot-report.service"}, b.cmdline...)
	limit := virtualLimit
	if w.virtual == nil {
		limit = containerLimit
		if _, listed := w.files[onlyListedFile]; !listed && !slices.Contains(cmdline, noDatasource) {
			cmdline = append(cmdline, onlyCloudStack)
		}
	}
	limited, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not power off within %v", limit))
	defer cancel()
	began := time.Now()
	wasCut := false
	if w.virtual == nil {
		err = w.bootContainer(limited, console, cmdline, b)
	} else {
		wasCut, err = w.bootVirtual(limited, console, cmdline, dir, b)
	}
	err = errors.Join(err, over())
	o := outcome{Took: time.Since(began), Virtual: w.virtual != nil, Cut: wasCut, Requests: w.requests()}
	if err != nil {
		o.Error = err.Error()
		if cause := context.Cause(limited); cause != nil {
			o.Error = cause.Error()
		}
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err := w.artifacts.WriteFile(path.Join(dir, dhcpFile), []byte(w.DHCPLog(w.nicOf(b))[sofar:]), 0o644); err != nil {
		return false, err
	}
	return o.Error == "", w.collect(ctx, dir, o)
}

func (w *world) bootContainer(ctx context.Context, console *os.File, cmdline []string, b boot) error {
	netns, _ := w.network(b)
	// Not the file itself: nspawn waits for its output with epoll, which
	// files do not support.
	return w.image.bootContainer(ctx, struct{ io.Writer }{console}, netns, cmdline)
}

const requestTime = "15:04:05.000" // of day, as the journal has it

var ports = map[vrtest.Port]int{vrtest.MetadataPort: 80, vrtest.PasswordPort: 8080}

// requests are the requests that the virtual router got.
func (w *world) requests() (requests []string) {
	for _, r := range w.vr.Requests() {
		text := fmt.Sprintf("%s :%d %s %s %d %s", r.Time.Format(requestTime), ports[r.Port], r.Method, r.Path, r.Status, r.DomURequest)
		requests = append(requests, strings.TrimSpace(text))
	}
	return requests
}
