//go:build integration

package lab_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// What is killed at each of its steps, and what the next one makes of it: heal, refresh
// and keep. The service is in scenario_crash_test.go, ssh-keys and cleanup in
// cmd/nm-cloud-seed.

// commandEnv makes this test binary one of our commands.
const commandEnv = "LAB_TEST_COMMAND"

// The unit of cloud-init's stages, as this test plays systemd: it runs once in a boot,
// whoever has started it and has been killed since.
const (
	stagesAsked = "/run/stages.asked"
	stagesEnded = "/run/stages.ended"
)

// runCommand is that process.
func runCommand(name string) error {
	log := logrus.New()
	cfg := config.Default()
	cfg.Platform = config.PlatformCloudStack
	d := daemon.Daemon{Log: log, Config: cfg, Notify: func(string) {}, StartUnit: func(ctx context.Context, _ string) error {
		if err := os.WriteFile(stagesAsked, nil, 0o600); err != nil {
			return err
		}
		for {
			if _, err := os.Stat(stagesEnded); err == nil {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
	}}
	ctx := context.Background()
	switch name {
	case "heal":
		return d.Heal(ctx)
	case "refresh":
		_, err := d.Refresh(ctx)
		return err
	case "keep":
		_, err := daemon.Keep("", func() ([]string, error) { return nm.Keep(ctx) })
		return err
	}
	return fmt.Errorf("there is no command %s", name)
}

// command is a command of ours in a process of its own.
func (s *scenario) command(name string) *exec.Cmd {
	cmd := s.Command(s.Context(), "/proc/self/exe")
	cmd.Env = append(cmd.Env, commandEnv+"="+name)
	return cmd
}

// killed runs a command until it is killed before the nth file that it changes, or ends.
func (s *scenario) killed(name string, n int) bool {
	s.Helper()
	killed, err := lab.KillAt(s.command(name), n)
	if err != nil {
		s.Fatalf("%s, kill %d: %v", name, n, err)
	}
	return killed
}

// again runs a command to its end.
func (s *scenario) again(name string) {
	s.Helper()
	if out, err := s.command(name).CombinedOutput(); err != nil {
		s.Errorf("got error %v of another %s, want none:\n%s", err, name, out)
	}
}

// keep is killed at each step: the state never says what is not so, and another keep
// puts it right.
func TestKilledKeepIsMendedByAnother(t *testing.T) {
	start(t, lab.Config{}, func(s *scenario) {
		s.serve(0, s.VRAddr(0), s.router(0, "kept"))
		between := false // Update2 and the state
		for n := 1; ; n++ {
			s.runUntilKept("kept")
			killed := s.killed("keep", n)
			state, err := daemon.ReadState("")
			s.must(err)
			isSaved := slices.Contains(s.list(), savedOurs)
			switch saysKept := len(state.Kept) > 0; {
			case killed && state.Keeping == nil && saysKept == isSaved, !killed && (!isSaved || saysKept || state.Keeping != nil):
				s.Errorf("kill %d: got the state kept %q, keeping %v, where the profile is saved: %t", n, state.Kept, state.Keeping, isSaved)
			case killed && state.Keeping != nil && isSaved:
				between = true
			}
			if killed && state.Keeping != nil {
				s.again("keep")
				if state, err := daemon.ReadState(""); err != nil || len(state.Kept) > 0 || state.Keeping != nil {
					s.Errorf("kill %d: got the state kept %q, keeping %v, error %v after another keep, want neither", n, state.Kept, state.Keeping, err)
				}
				s.connections(savedOurs)
			}
			if !killed {
				break
			}
			if slices.Contains(s.list(), savedOurs) {
				_, err = s.Nmcli(s.Context(), "connection", "delete", "nm-cloud-seed eth0")
				s.must(err)
			}
			s.boot()
		}
		if !between {
			s.Error("got no kill between NetworkManager's change and the state's, want one")
		}
	})
}

// refresh is killed at each step: what is there is whole, the state does not say that it
// goes on, and another one finds what has changed.
func TestKilledRefreshIsDoneByAnother(t *testing.T) {
	start(t, connected, func(s *scenario) {
		c := s.crash()
		c.seeds(c.editions[0])
		for n := 1; ; n++ {
			old, e := c.editions[0], c.editions[1]
			if c.seen() == e.name {
				old, e = e, old
			}
			c.serves(e)
			killed := s.killed("refresh", n)
			if got := c.seen(); got != old.name && got != e.name {
				s.Errorf("kill %d: got the seed %q, want that of %s or %s", n, got, old.name, e.name)
			}
			c.whole()
			state, err := daemon.ReadState("")
			if err != nil || state.Busy() {
				s.Errorf("kill %d: got state %+v, %v, want the end of the refresh", n, state, err)
			}
			s.again("refresh")
			if got := c.seen(); got != e.name {
				s.Errorf("kill %d: got the seed %q after another refresh, want %q", n, got, e.name)
			}
			if err := c.copied([]byte(read(copyFile))); err != nil || !strings.Contains(read(copyFile), "-"+e.name) {
				s.Errorf("kill %d: got another copy than that of %s (%v)", n, e.name, err)
			}
			if state, err := daemon.ReadState(""); err != nil || state.Busy() || state.Refresh.Error != "" {
				s.Errorf("kill %d: got state %+v, %v, want the end of another refresh", n, state, err)
			}
			if !killed {
				s.Logf("a refresh has %d steps", n-1)
				break
			}
		}
	})
}

// healKills is how many of heal's steps are tried in one run of the test, at random:
// each takes two seconds.
const healKills = 16

// heal is killed at its steps, before, while and after cloud-init runs its stages. What
// comes after it does not repeat anything, and ends as heal does. If the user changes
// the password when the stages have ended, it stays.
func TestKilledHealIsEndedByAnother(t *testing.T) {
	start(t, connected, func(s *scenario) {
		g := s.guest(sid)
		vr := g.vr(0)
		passwd := read("/etc/passwd")
		// heals has a first boot that failed, and kills heal before a step, or not at all.
		heals := func(n int, text string) (killed bool) {
			for _, dir := range []string{daemon.RunDir, "/run/cloud-init", "/run/issue.d", "/var/lib/cloud", credentials.DefaultDir, stagesAsked, stagesEnded} {
				s.must(os.RemoveAll(dir))
			}
			for path, text := range map[string]string{
				"/etc/shadow": noUsers, "/etc/passwd": passwd, wanting: "", issueFile: "nm-cloud-seed: it failed\n",
				daemon.StatePath: `{"phase": "failed", "text": "it failed", "started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:00:01Z"}`,
			} {
				s.must(os.MkdirAll(filepath.Dir(path), 0o755))
				_ = os.Remove(path) // a link to the host's
				s.must(os.WriteFile(path, []byte(text), 0o644))
			}
			g.hash, g.hostKeys = "", false
			g.serves(vr, 0, password(text), publicKeys("a"))
			vr.ResetLog()
			c := &cloudInit{guest: g, status: map[string]any{"init-local": stageStatus{Start: 1, Finished: 2}}}
			c.write("")
			ctx, cancel := context.WithCancel(s.Context())
			ended := make(chan error, 1)
			go func() { // systemd, and the unit
				ended <- func() error {
					for !g.exists(stagesAsked) {
						select {
						case <-ctx.Done():
							return nil
						case <-time.After(10 * time.Millisecond):
						}
					}
					c.run()
					return os.WriteFile(stagesEnded, nil, 0o600)
				}()
			}()
			killed = s.killed("heal", n)
			var mine string
			if g.exists(stagesAsked) && killed && n%2 == 0 {
				s.eventually("the stages end", func() bool { return g.exists(stagesEnded) })
				mine = "$y$j9T$salt$mine"
				g.sets(mine)
			}
			if killed && g.exists(wanting) { // the condition of the unit, which systemd starts again
				s.again("heal")
			}
			cancel()
			s.must(<-ended)

			if ran := strings.Join(c.ran, " "); ran != firstBoot {
				s.Errorf("kill %d: got the modules %q run, want %q", n, ran, firstBoot)
			}
			shadow := read("/etc/shadow")
			if mine != "" && !strings.Contains(shadow, mine) {
				s.Errorf("kill %d: got %q, want the user's password left alone", n, shadow)
			}
			g.lets(text)
			if told := g.told(); told != 1 && (told != 2 || !killed) {
				s.Errorf("kill %d: got the requests %q, want the password acknowledged", n, words(vr))
			}
			store := credentials.Store{Dir: credentials.DefaultDir}
			if d, _, err := store.Decision(instance, text, "debian", credentials.Shadow{}); d != credentials.AppliedBefore || err != nil {
				s.Errorf("kill %d: got the decision %d, error %v, want the password on record as applied", n, d, err)
			}
			g.onRecord("a")
			state, err := daemon.ReadState("")
			if err != nil || state.Phase != daemon.Ready || state.Busy() && state.Healing != nil || state.Error != "" {
				s.Errorf("kill %d: got state %+v, %v, want it ready", n, state, err)
			}
			for _, path := range []string{wanting, issueFile, dropInFile} {
				if g.exists(path) {
					s.Errorf("kill %d: got %s at the end, want it gone", n, path)
				}
			}
			g.noSecret("")
			return killed
		}
		steps := 0 // of a whole one
		if heals(1<<30, first) {
			s.Fatal("got a kill, want a whole heal")
		}
		for n := 1; ; n = n*2 + 1 { // at most so many
			if !heals(n, first) {
				steps = n
				break
			}
		}
		randomSeed := uint64(time.Now().UnixNano())
		random := rand.New(rand.NewPCG(randomSeed, 0))
		var tried []int
		for range healKills {
			n := 1 + random.IntN(steps)
			tried = append(tried, n)
			heals(n, second)
		}
		s.Logf("random seed %d: kills before %v of at most %d steps", randomSeed, tried, steps)
	})
}
