//go:build integration

package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// caseEnv makes a test be the victim of itself: what happens to a test binary
// with a lab is seen from a second one.
const caseEnv = "LAB_TEST_CASE"

// again is this test binary, running the calling test only.
func again(t *testing.T, value string, args ...string) *exec.Cmd {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", append(args, "-test.run=^"+name+"$", "-test.v")...)
	cmd.Env = append(os.Environ(), caseEnv+"="+value, "TMPDIR="+t.TempDir(), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	cmd.WaitDelay = killDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// processesOf are the processes with caseEnv=value in their environment, by
// process id. A dead one that nobody has waited for has none.
func processesOf(t *testing.T, value string) map[int]string {
	t.Helper()
	found := make(map[int]string)
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !bytes.Contains(env, []byte(caseEnv+"="+value+"\x00")) {
			continue // gone, or somebody else's
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		comm, _ := os.ReadFile(filepath.Join(dir, "comm")) // for the log
		found[pid] = strings.TrimSpace(string(comm))
	}
	return found
}

// nsOf is the inode of a process's namespace, as a link text.
func nsOf(pid int, kind string) string {
	link, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)) // "" if it is gone
	return link
}

// inNamespace are the processes of a pid namespace, whatever they are, without
// zombies: those are for whoever inherited them to bury.
func inNamespace(t *testing.T, ns string) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || nsOf(pid, "pid") != ns {
			continue
		}
		// "pid (comm) state …", see proc_pid_stat(5)
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if end := bytes.LastIndexByte(stat, ')'); err == nil && !bytes.HasPrefix(stat[end+1:], []byte(" Z")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// startUntilUp starts cmd and returns when it says that its lab is up.
func startUntilUp(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "LAB IS UP") {
			return
		}
	}
	t.Fatal("got the end of the output, want LAB IS UP before")
}

// A test binary that dies takes its lab along, however it dies: by SIGKILL, by
// SIGKILL while the lab's first process is stopped and cannot notice, or because
// only the first process is told to end.
func TestLabDiesWithTestBinary(t *testing.T) {
	if os.Getenv(caseEnv) != "" {
		Run(t, Config{}, func(*Lab) {
			t.Log("LAB IS UP")
			select {}
		})
		return
	}
	// A script that starts tests in the background has them ignore SIGINT, and so
	// their children, unless somebody here wants to hear of it.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT)
	defer signal.Stop(interrupts)
	for name, end := range map[string]func(t *testing.T, outer, first int){
		"outer killed": func(t *testing.T, outer, _ int) { send(t, outer, syscall.SIGKILL) },
		"outer killed, inner stopped": func(t *testing.T, outer, first int) {
			send(t, first, syscall.SIGSTOP)
			send(t, outer, syscall.SIGKILL)
		},
		"outer terminated":  func(t *testing.T, outer, _ int) { send(t, outer, syscall.SIGTERM) },
		"inner terminated":  func(t *testing.T, _, first int) { send(t, first, syscall.SIGTERM) },
		"inner interrupted": func(t *testing.T, _, first int) { send(t, first, syscall.SIGINT) },
	} {
		t.Run(name, func(t *testing.T) {
			value := fmt.Sprintf("crash-%d-%s", os.Getpid(), strings.ReplaceAll(name, " ", "-"))
			cmd := again(t, value)
			startUntilUp(t, cmd)
			all := processesOf(t, value)
			first, programs := 0, make(map[string]bool)
			for pid, comm := range all {
				programs[comm] = true
				if comm == "exe" && pid != cmd.Process.Pid { // both were started as /proc/self/exe
					first = pid
				}
			}
			if !programs["NetworkManager"] || !programs["dnsmasq"] || !programs["dbus-daemon"] || first == 0 {
				t.Fatalf("got the processes %v, want NetworkManager, dnsmasq, dbus-daemon and the first process", all)
			}
			ns := nsOf(first, "pid")
			if n := len(inNamespace(t, ns)); n < 4 || ns == nsOf(os.Getpid(), "pid") {
				t.Fatalf("got %d processes in the pid namespace %s, want 4 or more, and not in the test's own one", n, ns)
			}

			begin := time.Now()
			end(t, cmd.Process.Pid, first)
			eventually(t, "end of all processes", func() bool {
				return len(inNamespace(t, ns)) == 0
			})
			t.Logf("all gone after %v", time.Since(begin).Round(time.Millisecond))
			if err := cmd.Wait(); err == nil {
				t.Error("got success as the end of the test binary, want a failure")
			}
			if left := processesOf(t, value); len(left) > 0 {
				t.Errorf("got these processes left: %v, want none", left)
			}
		})
	}
}

func send(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// The same where only the lifeline can tell the inner process.
func TestLifelineEndsLab(t *testing.T) {
	switch value := os.Getenv(caseEnv); {
	case Inside():
		fmt.Println("LAB IS UP")
		select {}
	case value != "":
		cmd, err := inner(t.Context(), "lifeline", []string{"-test.run=^TestLifelineEndsLab$"})
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr.Pdeathsig = 0
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		t.Fatal(runOnThread(cmd))
	}
	value := fmt.Sprintf("lifeline-%d", os.Getpid())
	cmd := again(t, value)
	startUntilUp(t, cmd)
	if all := processesOf(t, value); len(all) != 2 {
		t.Fatalf("got the processes %v, want 2", all)
	}
	send(t, cmd.Process.Pid, syscall.SIGKILL)
	if err := cmd.Wait(); err == nil {
		t.Error("got success as the end of the test binary, want a failure")
	}
	t.Cleanup(func() { // if the lifeline is broken
		for pid := range processesOf(t, value) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	eventually(t, "end of all processes", func() bool { return len(processesOf(t, value)) == 0 })
}

// How a test's end inside a lab shows outside.
func TestRunPassesVerdictOn(t *testing.T) {
	if os.Getenv(caseEnv) == "" {
		t.Parallel()
	}
	victims := map[string]func(){
		"fail":  func() { Run(t, Config{}, func(*Lab) { t.Error("INNER FAILURE") }) },
		"panic": func() { Run(t, Config{}, func(*Lab) { panic("INNER PANIC") }) },
		"skip":  func() { Run(t, Config{}, func(*Lab) { t.Skip("NO REASON") }) },
		"exit":  func() { Run(t, Config{}, func(*Lab) { os.Exit(0) }) },
		"hang":  func() { Run(t, Config{}, func(*Lab) { select {} }) },
		"inotify": func() {
			if !Inside() { // the limit of this user namespace only
				if err := os.WriteFile("/proc/sys/user/max_inotify_instances", []byte("0"), 0); err != nil {
					t.Fatal(err)
				}
			}
			Run(t, Config{NICs: []NIC{{DHCPOptions: []string{"nonsense:x"}}}}, func(*Lab) {})
		},
		"setup":   func() { Run(t, Config{NICs: []NIC{{DHCPOptions: []string{"nonsense:x"}}}}, func(*Lab) {}) },
		"profile": func() { Run(t, Config{Profiles: map[string]string{"../x": ""}}, func(*Lab) {}) },
		"ip": func() {
			Run(t, Config{}, func(*Lab) {
				if err := ip(vmNetns, "link set nobody up"); err != nil {
					t.Fatal(err)
				}
			})
		},
		"subtest": func() {
			Run(t, Config{}, func(*Lab) {
				t.Run("sub", func(t *testing.T) {
					t.Parallel()
					t.Error("INNER FAILURE")
				})
			})
		},
		"parallel": func() { // after the body has returned
			Run(t, Config{}, func(l *Lab) {
				t.Run("sub", func(t *testing.T) {
					t.Parallel()
					nmcli(t, l, "general")
				})
			})
		},
		"other": func() { // a subtest that is not there the second time
			t.Run(strconv.Itoa(os.Getpid()), func(t *testing.T) { Run(t, Config{}, func(*Lab) {}) })
		},
		"nested": func() {
			Run(t, Config{}, func(*Lab) {
				t.Run("sub", func(t *testing.T) { Run(t, Config{}, func(*Lab) {}) })
			})
		},
	}
	if victim, ok := victims[os.Getenv(caseEnv)]; ok {
		victim()
		return
	}
	for name, c := range map[string]struct {
		passes bool
		args   []string
		userNS bool     // in a user namespace of its own
		want   []string // in the output
	}{
		"fail":     {want: []string{"INNER FAILURE", "the end of NetworkManager.log", "is starting...", "--- FAIL: TestRunPassesVerdictOn"}},
		"panic":    {want: []string{"INNER PANIC", "goroutine ", "the end of dnsmasq-vr0.log", "--- FAIL: TestRunPassesVerdictOn"}},
		"subtest":  {want: []string{"INNER FAILURE", "--- FAIL: TestRunPassesVerdictOn/sub", "--- FAIL: TestRunPassesVerdictOn ("}},
		"skip":     {want: []string{"NO REASON", "skipped inside the lab", "--- FAIL: TestRunPassesVerdictOn"}},
		"inotify":  {userNS: true, want: []string{"sysctl fs.inotify.max_user_instances=", "--- FAIL: TestRunPassesVerdictOn"}},
		"hang":     {args: []string{"-test.timeout=1m"}, want: []string{"deadline is near", "TestRunPassesVerdictOn.func", "--- FAIL: TestRunPassesVerdictOn"}},
		"parallel": {passes: true, want: []string{"--- PASS: TestRunPassesVerdictOn/sub"}},
		"exit":     {want: []string{"did not run inside"}},
		"profile":  {want: []string{`cannot use profile name "../x"`}},
		"nested":   {want: []string{"cannot run a lab for TestRunPassesVerdictOn/sub inside the one for TestRunPassesVerdictOn"}},
		"other":    {want: []string{"did not run inside"}},
		"setup":    {want: []string{"dnsmasq has exited (exit status 1)", "bad dhcp-option"}},
		"ip":       {want: []string{`Cannot find device "nobody"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := again(t, name, c.args...)
			if c.userNS {
				cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
				cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
				cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
			}
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.passes {
				t.Errorf("got %v as the end of the test binary, want success: %t", err, c.passes)
			}
			for _, want := range c.want {
				if !bytes.Contains(out, []byte(want)) {
					t.Errorf("got an output without %q, want it there", want)
				}
			}
			if t.Failed() {
				t.Logf("its output:\n%s", out)
			}
		})
	}
}

// Two labs with the same addresses that are surely up at the same time: each
// waits for the other one's file.
func TestLabsRunSideBySide(t *testing.T) {
	t.Parallel()
	dir := os.Getenv(caseEnv)
	if dir == "" {
		if out, err := again(t, t.TempDir()).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for i := range 2 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			Run(t, Config{AutoDefault: true}, func(l *Lab) {
				text := fmt.Sprintf("router %d", i)
				serve(t, l, 0, "10.1.1.1:80", text)
				wantState(t, l, "eth0", "connected")
				if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				eventually(t, "other lab", func() bool {
					_, err := os.Stat(filepath.Join(dir, strconv.Itoa(1-i)))
					return !errors.Is(err, fs.ErrNotExist)
				})
				if got := ask(t, "10.1.1.1:80"); got != text {
					t.Errorf("got the answer %q of the router, want %q", got, text)
				}
			})
		})
	}
}

// A lab without the testing package: what a program does.
func TestEnterRunsProgramInLab(t *testing.T) {
	if os.Getenv(caseEnv) == "enter" {
		if !Inside() {
			t.Fatal("got Inside() = false, want true")
		}
		l, err := New(t.TempDir(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := l.Nmcli(context.Background(), "-g", "RUNNING", "general")
		fmt.Printf("NetworkManager is %s, %v\n", strings.TrimSpace(out), err)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	if _, err := New(t.TempDir(), Config{}); err == nil || !strings.Contains(err.Error(), "see Enter") {
		t.Fatalf("got error %v of New outside of a lab, want one that says: see Enter", err)
	}
	t.Setenv(caseEnv, "enter")
	var out bytes.Buffer
	err := Enter(t.Context(), []string{"-test.run=^TestEnterRunsProgramInLab$"}, nil, &out, &out)
	if err != nil || !strings.Contains(out.String(), "NetworkManager is running, <nil>") {
		t.Errorf("got error %v of Enter and this output, want a NetworkManager that runs:\n%s", err, out.String())
	}
}
