//go:build integration

package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/seed"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// Nothing is half-written: what a run leaves that is killed. Without room: scenario_full_test.go.

// serviceEnv makes this test binary the service, with a deadline. It may kill itself
// some time after it tells systemd something, or begins to write the copy after that:
// "10s 30us READY=1". A file is written in less time than another process needs to
// notice.
const serviceEnv = "LAB_TEST_SERVICE"

func TestMain(m *testing.M) {
	if name, set := os.LookupEnv(commandEnv); set {
		if err := runCommand(name); err != nil {
			logrus.Fatal(err)
		}
		return
	}
	service, set := os.LookupEnv(serviceEnv)
	if !set {
		os.Exit(m.Run())
	}
	log := logrus.New()
	cfg := config.Default()
	limit, dies, _ := strings.Cut(service, " ")
	after, moment, _ := strings.Cut(dies, " ")
	deadline, err := time.ParseDuration(limit)
	if err != nil {
		log.Fatal(err)
	}
	cfg.Platform, cfg.Deadline = config.PlatformCloudStack, deadline
	d := daemon.Daemon{Log: log, Config: cfg, Notify: func(state string) {
		if state == moment || state == "READY=1" && moment == copying {
			before, _ := filepath.Glob(copying)
			copied, _ := os.Stat(lastBootFile)
			go dieAfter(after, moment, before, copied)
		}
	}}
	if err := d.Run(context.Background()); err != nil {
		log.Error(err)
		os.Exit(1)
	}
}

// The moments. copying is a pattern.
const (
	fetched = "STATUS=fetched the metadata"
	copying = credentials.DefaultDir + "/.last-boot.json.*"

	lastBootFile = credentials.DefaultDir + "/last-boot.json"
)

// dieAfter kills this process. It does not sleep, which is never exact. before are the
// unfinished copies that earlier runs have left, copied is the finished one.
func dieAfter(text, moment string, before []string, copied os.FileInfo) {
	d, _ := time.ParseDuration(text)
	for moment == copying {
		temps, _ := filepath.Glob(copying)
		if slices.ContainsFunc(temps, func(f string) bool { return !slices.Contains(before, f) }) {
			break
		}
		// A slow machine may show only the end of it.
		if now, err := os.Stat(lastBootFile); err == nil && !os.SameFile(now, copied) {
			break
		}
	}
	for began := time.Now(); time.Since(began) < d; {
	}
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
}

// service is a run in a process of its own.
func (s *scenario) service(deadline time.Duration, dies string) (cmd *exec.Cmd, said *bytes.Buffer) {
	cmd = s.Command(s.Context(), "/proc/self/exe")
	cmd.Env = append(cmd.Env, serviceEnv+"="+deadline.String()+" "+dies)
	said = new(bytes.Buffer)
	cmd.Stderr = said
	return cmd, said
}

// ends is a run that is not killed and has to end by itself. The error is what it
// said last.
func (s *scenario) ends(deadline time.Duration) (said string, err error) {
	s.Helper()
	cmd, out := s.service(deadline, "")
	s.must(cmd.Start())
	hangs := time.AfterFunc(2*hangLimit, func() { _ = cmd.Process.Signal(unix.SIGQUIT) })
	defer hangs.Stop()
	err = cmd.Wait()
	said = out.String()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(said), "\n")
		err = errors.New(lines[len(lines)-1])
	}
	return said, err
}

// edition is what the VR has for the VM at a time.
type edition struct {
	name string
	vm   *vrtest.VM
	inst datasource.Instance
}

// edition differs from every other in nearly all keys and each line of its
// user-data.
func (s *scenario) edition(name string) edition {
	vm := vrtest.Example(instance, s.ClientAddr(0))
	for i := range 20 {
		vm.Set(fmt.Sprintf("zz-key-%02d", i), strings.Repeat("value ", i))
	}
	for i, key := range vm.Metadata {
		if key.Name != "instance-id" && key.Name != "vm-id" && key.Name != "local-ipv4" {
			vm.Metadata[i].Value += "-" + name
		}
	}
	publicKeys(name)(vm)
	line := "# this is edition " + name + "\n"
	vm.UserData = []byte("#!/bin/sh\n" + strings.Repeat(line, 300_000/len(line)))
	e := edition{name, vm, datasource.Instance{
		ID: instance, Metadata: map[string]string{}, UserData: vm.UserData, Origin: datasource.Origin{Domain: "cs2cloud.internal"},
	}}
	for _, key := range vm.Metadata {
		e.inst.Metadata[key.Name] = key.Value
	}
	return e
}

// crash is a VM whose VR changes its mind from run to run.
type crash struct {
	*scenario
	vr       *vrtest.VR
	editions []edition
}

// crash starts with cloud-init done, so that a run ends by itself, and with SSH keys
// applied, so that others have to be handed over.
func (s *scenario) crash() *crash {
	s.Helper()
	s.guest(sid)
	users := read("/etc/passwd") // by a link, the host's
	s.must(os.Remove("/etc/passwd"))
	s.must(os.WriteFile("/etc/passwd", []byte(users+"debian:x:1000:1000::/home/debian:/bin/sh\n"), 0o644))
	s.must(os.MkdirAll("/run/cloud-init", 0o755))
	s.done(true)
	c := &crash{s, vrtest.New(), []edition{s.edition("a"), s.edition("other")}}
	s.must(s.ServeVR(s.Context(), 0, c.vr))
	return c
}

// done says whether cloud-init is done.
func (s *scenario) done(yes bool) {
	s.Helper()
	const file = "/run/cloud-init/result.json"
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		s.must(err)
	}
	if yes {
		s.must(os.WriteFile(file, nil, 0o644))
	}
}

// serves changes what the VR has. cloud-init has applied what it had before.
func (c *crash) serves(e edition) {
	c.vr.SetVM(c.ClientAddr(0), e.vm)
	_ = os.MkdirAll(instances+"/"+instance+"/sem", 0o755)
	_ = os.WriteFile(instances+"/"+instance+"/sem/config_ssh", nil, 0o644) // or there is no room for cloud-init, too
}

// seeds runs the service to its end and expects an edition.
func (c *crash) seeds(e edition) (said string) {
	c.Helper()
	c.serves(e)
	said, err := c.ends(hangLimit)
	if err != nil {
		c.Fatalf("got error %v, want a seed of edition %s", err, e.name)
	}
	if got := c.seen(); got != e.name {
		c.Errorf("got edition %q as the seed, want %q", got, e.name)
	}
	return said
}

// seen is the edition that cloud-init reads, "" if there is none.
func (c *crash) seen() string {
	c.Helper()
	meta, err := os.ReadFile(daemon.SeedLink + "/meta-data")
	user, err2 := os.ReadFile(daemon.SeedLink + "/user-data")
	if missing(err) && missing(err2) {
		return ""
	}
	c.must(errors.Join(err, err2))
	for _, e := range c.editions {
		if bytes.Equal(user, e.inst.UserData) && bytes.Equal(meta, seed.MetaData(&e.inst)) {
			return e.name
		}
	}
	c.Fatalf("got %d bytes of user-data and this meta-data, want those of one edition:\n%s", len(user), meta)
	return ""
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) }

// whole checks all other files that a run writes, for those who read them after it.
func (c *crash) whole() {
	c.Helper()
	for path, check := range map[string]func(data []byte) error{
		daemon.StatePath: func(data []byte) error { return json.Unmarshal(data, new(daemon.State)) },
		dropInFile:       func(data []byte) error { return yaml.Unmarshal(data, new(map[string]any)) },
		daemon.RunDir + "/private/leases/*": func(data []byte) error {
			if !bytes.HasSuffix(data, []byte("\nDOMAINNAME=cs2cloud.internal\n")) {
				return errors.New("it has no end")
			}
			return nil
		},
		lastBootFile:   c.copied,
		records["ssh"]: func(data []byte) error { return json.Unmarshal(data, new(map[string]any)) },
	} {
		paths, err := filepath.Glob(path) // without those whose name begins with a dot
		c.must(err)
		for _, path := range paths {
			if unfinished.MatchString(path) {
				continue
			}
			data, err := os.ReadFile(path)
			if err == nil {
				err = check(data)
			}
			if err != nil {
				c.Fatalf("%s: %v: %.200q", path, err, data)
			}
		}
	}
}

// copied checks the copy of an edition.
func (c *crash) copied(data []byte) error {
	var file struct{ Instance datasource.Instance }
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	for _, e := range c.editions {
		if cmp.Equal(e.inst.Metadata, file.Instance.Metadata) && bytes.Equal(e.inst.UserData, file.Instance.UserData) {
			return nil
		}
	}
	return errors.New("it is no edition alone")
}

var (
	unfinished = regexp.MustCompile(`\.tmp-`)
	generation = regexp.MustCompile(`seed\.d/\d+`)
)

// files are those that a run leaves.
func (c *crash) files() (names []string) {
	c.Helper()
	for _, dir := range []string{daemon.RunDir, "/var/lib/cloud", credentials.DefaultDir, "/run/issue.d"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			names = append(names, path)
			return err
		})
		if !errors.Is(err, fs.ErrNotExist) {
			c.must(err)
		}
	}
	return names
}

// What a kill has hit.
const (
	beforeStart = "before it said anything"
	beforeFetch = "before the metadata was there"
	beforeReady = "between the metadata and READY"
	afterReady  = "after READY"
	afterItsEnd = "after its end"

	twoGenerations = "with a second generation" // these two besides
	unfinishedFile = "in the middle of a file"
)

// hit says what a run had achieved when it was killed.
func (c *crash) hit(pid int) string {
	c.Helper()
	var state daemon.State
	c.must(json.Unmarshal([]byte(read(daemon.StatePath)), &state))
	fetched := slices.ContainsFunc(state.Steps, func(s daemon.Step) bool { return s.Name == "metadata" })
	switch {
	case state.Process.ID != pid:
		return beforeStart
	case state.Ended != nil:
		return afterItsEnd
	case state.Phase == daemon.Ready:
		return afterReady
	case fetched:
		return beforeReady
	}
	return beforeFetch
}

// linked waits for the end of a run. All the time there is a seed, also for less
// than it takes to kill.
func (c *crash) linked(cmd *exec.Cmd) {
	c.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it was killed
	}()
	for {
		if _, err := os.Readlink(daemon.RunDir + "/seed"); err != nil {
			c.Fatalf("got a moment without a seed (%v), want one all the time", err)
		}
		select {
		case <-ended:
			return
		default:
		}
	}
}

// generations is how many there are.
func (c *crash) generations() int {
	entries, _ := os.ReadDir(daemon.RunDir + "/seed.d")
	return len(entries)
}

// toReady is what the last run has needed to be ready when it had the metadata.
func (c *crash) toReady() time.Duration {
	c.Helper()
	state, err := daemon.ReadState("")
	c.must(err)
	last := state.Steps[len(state.Steps)-2:]
	if last[0].Name != "metadata" || last[1].Name != "seed" {
		c.Fatalf("got the steps %v, want metadata and seed at the end", state.Steps)
	}
	return time.Duration((last[1].At - last[0].At) * float64(time.Millisecond))
}

// The service is killed at random moments: one in four of the whole run, the others
// from the fetch on, where it writes. At first its connection is bound to it; later it
// hands it over or goes on with an earlier run's.
func TestKilledRunsLeaveNothingHalfWritten(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		const (
			kills   = 150
			writing = time.Millisecond // is what the seed takes
		)
		c := s.crash()
		began := time.Now()
		for _, e := range c.editions {
			c.seeds(e)
		}
		whole := time.Since(began) / 2
		toReady := max(c.toReady(), 1)
		want := c.files()
		_, err := s.Nmcli(s.Context(), "connection", "delete", "nm-cloud-seed eth0")
		s.must(err)

		randomSeed := uint64(time.Now().UnixNano())
		random := rand.New(rand.NewPCG(randomSeed, 0))
		hits, before := map[string]int{}, want
		for round := range kills {
			if round == 0 || round == kills*2/3 {
				s.done(round > 0)
			}
			old, e := c.editions[0], c.editions[1]
			if c.seen() == e.name {
				old, e = e, old
			}
			c.serves(e)
			after := func(most time.Duration) time.Duration { return time.Duration(random.Int64N(int64(most))) }
			dies, within := "", after(whole*5/4) // from here, or from within the service
			switch round % 4 {
			case 1:
				dies = after(toReady).String() + " " + fetched
			case 2:
				dies = after(writing).String() + " " + fetched
			case 3:
				dies = after(writing/2).String() + " " + copying
			}
			if dies != "" {
				within = hangLimit
			}
			cmd, _ := s.service(hangLimit, dies)
			s.must(cmd.Start())
			timer := time.AfterFunc(within, func() {
				if within == hangLimit {
					s.Errorf("kill %d: got no end of the service within %v, want one at %q", round, within, dies)
				}
				_ = cmd.Process.Kill()
			})
			if round%4 == 2 {
				c.linked(cmd)
			} else {
				_ = cmd.Wait() // it was killed
			}
			timer.Stop()

			hit, got := c.hit(cmd.Process.Pid), c.seen()
			isNew, isOld := got == e.name && hit != beforeStart && hit != beforeFetch, got == old.name && hit != afterReady && hit != afterItsEnd
			if !isNew && !isOld {
				s.Fatalf("kill %d, %s: the seed is edition %q; the old one is %s, the new one %s", round, hit, got, old.name, e.name)
			}
			c.whole()
			hits[hit]++
			if hit == afterReady || hit == afterItsEnd { // a machine may become faster, or slower
				toReady = max(c.toReady(), 1)
			}
			left := c.files()
			if c.generations() > 1 {
				hits[twoGenerations]++
			}
			if slices.ContainsFunc(left, func(f string) bool { return unfinished.MatchString(f) && !slices.Contains(before, f) }) {
				hits[unfinishedFile]++
			}
			before = left
		}
		s.Logf("a run takes %v; random seed %d; of %d kills there were %v", whole, randomSeed, kills, hits)
		if hits[beforeReady] < 10 {
			s.Errorf("got %d kills %s, want 10 or more, as the test shows little otherwise", hits[beforeReady], beforeReady)
		}

		// What a kill leaves in the middle of each file, which few of them hit.
		for _, path := range []string{daemon.StatePath, dropInFile, records["ssh"], records["set_passwords"], lastBootFile, daemon.RunDir + "/private/ssh-keys.json"} {
			temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp-1")
			s.must(os.WriteFile(temp, []byte("{"), 0o600))
		}
		for _, e := range c.editions {
			c.seeds(e)
		}
		if diff := cmp.Diff(want, c.files(), cmp.Transformer("generation", func(name string) string {
			return generation.ReplaceAllString(name, "seed.d/N")
		})); diff != "" {
			s.Errorf("what the kills have left (-want +got):\n%s", diff)
		}
		out, err := s.Nmcli(s.Context(), "-g", "NAME", "connection")
		s.must(err)
		if got := strings.Fields(strings.Replace(out, "lo\n", "", 1)); !slices.Equal(got, []string{"nm-cloud-seed", "eth0"}) {
			s.Errorf("got these connections, want nm-cloud-seed eth0 only:\n%s", out)
		}
	})
}
