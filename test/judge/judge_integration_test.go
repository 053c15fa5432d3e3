//go:build integration

package judge_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/config"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/judge"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

const domain = "cs2cloud.internal" // the lab's

// bench is a lab with a VR and a judge. The VM's connection is up all the time,
// so each run of the service finds a lease and needs no temporary one.
type bench struct {
	*lab.Lab
	vr    *vrtest.VR
	judge *judge.Judge
	suite string
}

// releases runs body with the cloud-init of each release, side by side.
func releases(t *testing.T, body func(t *testing.T, b *bench)) {
	if os.Getuid() != 0 {
		t.Fatal("the judge needs root: it runs the Python of other Debian releases by chroot(2)")
	}
	for suite, version := range map[string]string{
		"bookworm": "22.4.2", "trixie": "25.1.4", "sid": "2", // sid moves on
	} {
		t.Run(suite, func(t *testing.T) {
			if !lab.Inside() {
				t.Parallel()
			}
			root, err := debroot.Image(suite).Open()
			if err != nil {
				t.Fatal(err)
			}
			profile := "[connection]\nid=lan\ntype=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=auto\n[ipv6]\nmethod=disabled\n"
			c := lab.Config{Profiles: map[string]string{"lan.nmconnection": profile}}
			lab.Run(t, c, func(l *lab.Lab) {
				b := &bench{Lab: l, vr: vrtest.New(), suite: suite}
				if err := b.ServeVR(t.Context(), 0, b.vr); err != nil {
					t.Fatal(err)
				}
				python := func(name string, args ...string) *exec.Cmd {
					return l.Command(context.Background(), name, args...)
				}
				if b.judge, err = judge.New(root, "/run/judge", python, t.Output()); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := b.judge.Close(); err != nil {
						t.Error(err)
					}
				})
				t.Logf("cloud-init %s, Python %s", b.judge.Version, b.judge.Python)
				if !strings.HasPrefix(b.judge.Version, version) {
					t.Errorf("got cloud-init %s, want %s", b.judge.Version, version)
				}
				body(t, b)
			})
		})
	}
}

// crawl lets cloud-init crawl the VR.
func (b *bench) crawl(t *testing.T) judge.Answer {
	t.Helper()
	b.vr.ResetLog()
	answer, err := b.judge.Crawl(t.Context(), b.VRAddr(0).String(), domain)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.vr.Requests()) == 0 {
		t.Error("cloud-init's crawl: got no request to the virtual router, want some")
	}
	return answer
}

// write runs the service, which writes the seed.
func (b *bench) write(t *testing.T) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(t.Output())
	cfg := config.Default()
	cfg.Platform, cfg.Deadline = config.PlatformCloudStack, 10*time.Minute // no subject here: a slow machine has time
	if err := os.RemoveAll(daemon.SeedLink); err != nil {                  // an earlier seed proves nothing
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d := daemon.Daemon{Log: log, Config: cfg, Notify: func(state string) {
		if state == "READY=1" {
			cancel() // there is no temporary connection to hold
		}
	}}
	if err := d.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// seed lets cloud-init read the seed, and nothing else.
func (b *bench) seed(t *testing.T) judge.Answer {
	t.Helper()
	answer, asked := b.readSeed(t)
	if asked != 0 {
		t.Errorf("cloud-init with the seed: got %d requests to the virtual router, want 0", asked)
	}
	return answer
}

// readSeed also says how often the VR was asked meanwhile.
func (b *bench) readSeed(t *testing.T) (answer judge.Answer, asked int) {
	t.Helper()
	b.vr.ResetLog()
	answer, err := b.judge.Seed(t.Context(), b.VRAddr(0).String(), domain)
	if err != nil {
		t.Fatal(err)
	}
	return answer, len(b.vr.Requests())
}

// For each case, cloud-init answers the same both ways, or differs as the case says.
func TestCloudInitReadsSeedAsItsOwnCrawl(t *testing.T) {
	releases(t, func(t *testing.T, b *bench) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				vm := vrtest.Example(instance, b.ClientAddr(0))
				c.change(vm)
				b.vr.SetVM(b.ClientAddr(0), vm)
				b.write(t)
				crawl, seed := b.crawl(t), b.seed(t)
				if seed.Error != "" {
					t.Fatalf("cloud-init fails with the seed: %s", seed.Error)
				}
				c.checkSeed(t, vm, seed)
				if c.crawlFails != "" {
					if !strings.Contains(crawl.Error, c.crawlFails) {
						t.Errorf("cloud-init's crawl: got the error %q, want %q in it", crawl.Error, c.crawlFails)
					}
					return
				}
				c.check(t, b.suite, judge.Compare(crawl, seed))
			})
		}
	})
}

// check wants the differences that the case names, each of its kind.
func (c *testCase) check(t *testing.T, suite string, all []judge.Difference) {
	t.Helper()
	want := map[string]string{}
	for _, d := range append(slices.Clone(qualified), c.differs...) {
		if (d.only == "" || d.only == suite) && !slices.Contains(c.same, d.what) {
			want[d.what] = d.kind
		}
	}
	for _, d := range all {
		if want[d.What] != d.Kind {
			t.Errorf("got the difference %v, want %q", d, want[d.What])
		}
		delete(want, d.What)
	}
	for what, kind := range want {
		t.Errorf("%s: got no difference, want one (%s)", what, kind)
	}
}
