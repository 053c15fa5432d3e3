package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// sample is one run of a contender.
type sample struct {
	started time.Time
	loaded  time.Time // cloud-init only: its modules are there, the crawl begins
	leased  time.Time // the DHCPACK, if the contender had to get the lease
	seeded  time.Time

	steps       []daemon.Step // ours only: from status.json
	requests    int
	connections int
	tree        tree // if it was traced
}

// contender is one way to the same seed. Its run fills in a sample, except for
// the lease.
type contender struct {
	name string
	run  func(ctx context.Context, w *world, traced bool) (sample, error)
}

var (
	ours      = contender{"nm-cloud-seed", runOurs}
	cloudInit = contender{"cloud-init", runCloudInit}
	byHand    = contender{"nmcli + curl", runByHand}
)

// once runs a contender from a clean state. Where the device is idle, the
// contender has to get the lease.
func (c contender) once(ctx context.Context, w *world, idle, traced bool) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := w.reset(); err != nil {
		return sample{}, err
	}
	s, err := c.run(ctx, w, traced)
	if err != nil {
		return s, fmt.Errorf("%s: %w", c.name, err)
	}
	s.requests, s.connections = len(w.vr.Requests()), w.vr.Connections()
	if !idle {
		return s, nil
	}
	select {
	case s.leased = <-w.leases:
	case <-ctx.Done():
		return s, fmt.Errorf("%s: there was no DHCPACK", c.name)
	}
	return s, w.disconnect(ctx, "seed")
}

// runOurs is the service, as systemd starts it: it has done its job when it
// says READY=1.
func runOurs(ctx context.Context, w *world, traced bool) (s sample, err error) {
	cmd := w.Command(ctx, w.binary, "run")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+notify)
	p, err := launch(cmd, traced)
	if err != nil {
		return s, err
	}
	s.started = p.started
	if s.seeded, err = w.ready(); err != nil {
		return s, err
	}
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return s, err
	}
	if s.tree, err = p.wait(); err != nil {
		return s, err
	}
	state, err := daemon.ReadState("")
	if err != nil {
		return s, err
	}
	// From the start of the process, as all other times.
	s.steps = []daemon.Step{{Name: "process start", At: millis(state.Started.Sub(s.started))}}
	for _, step := range state.Steps {
		s.steps = append(s.steps, daemon.Step{Name: step.Name, At: s.steps[0].At + step.At})
	}
	s.steps = append(s.steps, daemon.Step{Name: "READY=1", At: millis(s.seeded.Sub(s.started))})
	return s, w.checkFiles(daemon.SeedLink)
}

// runCloudInit is the crawl of cloud-init's datasource.
func runCloudInit(ctx context.Context, w *world, traced bool) (s sample, err error) {
	cmd := w.Command(ctx, "/usr/bin/python3", "/crawl.py")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: chroot}
	var out bytes.Buffer
	cmd.Stdout = &out
	p, err := launch(cmd, traced)
	if err != nil {
		return s, err
	}
	s.started = p.started
	if s.tree, err = p.wait(); err != nil {
		return s, err
	}
	var found struct {
		Loaded, Crawled    float64
		Version            string
		Metadata, UserData string
	}
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		return s, fmt.Errorf("cannot read what crawl.py found: %w", err)
	}
	w.version = found.Version
	s.loaded, s.seeded = seconds(found.Loaded), seconds(found.Crawled)
	return s, w.check(found.Metadata, found.UserData)
}

// seconds is a time as Python has it.
func seconds(t float64) time.Time {
	whole, part := math.Modf(t)
	return time.Unix(int64(whole), int64(part*1e9))
}

// runByHand is the script.
func runByHand(ctx context.Context, w *world, traced bool) (s sample, err error) {
	p, err := launch(w.Command(ctx, benchDir+"/nmcli-curl.sh", benchDir+"/seed"), traced)
	if err != nil {
		return s, err
	}
	s.started = p.started
	if s.tree, err = p.wait(); err != nil {
		return s, err
	}
	s.seeded = p.ended
	return s, w.checkFiles(benchDir + "/seed")
}

// ready waits for the service's word, and returns when it came.
func (w *world) ready() (time.Time, error) {
	if err := w.notify.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return time.Time{}, err
	}
	for message := make([]byte, 4096); ; {
		n, err := w.notify.Read(message)
		if err != nil {
			return time.Time{}, fmt.Errorf("the service did not become ready: %w", err)
		}
		if string(message[:n]) == "READY=1" {
			return time.Now(), nil
		}
	}
}

func (w *world) checkFiles(dir string) error {
	metadata, err := os.ReadFile(dir + "/meta-data")
	if err != nil {
		return err
	}
	userData, err := os.ReadFile(dir + "/user-data")
	if err != nil {
		return err
	}
	return w.check(string(metadata), string(userData))
}
