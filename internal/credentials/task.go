package credentials

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Task is a removal that passes between two processes.
type Task struct {
	Home    string `json:"home"`
	Remove  Keys   `json:"remove"`
	Present Keys   `json:"present"`
}

type result struct {
	Removed    Keys   `json:"removed"`
	NotApplied bool   `json:"not-applied"`
	Error      string `json:"error"`
}

const (
	taskTimeout = 10 * time.Second // a home may be on a server that is gone
	maxResult   = 1 << 20
)

// RunAs does the task in u's home, in a process that is only the user's: so no
// link or file system there makes root touch what is not the user's. The process
// is this program with these arguments, which has to call [RunTask].
//
// The user may do to that process what he likes. Its result is taken as his word
// about his own files, and its end is not waited for.
func (t Task) RunAs(u *user.User, args ...string) (removed Keys, err error) {
	t.Home = u.HomeDir
	r, err := t.runAs(u, args)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot remove SSH keys as %s: %w", u.Username, err)
	case r.NotApplied:
		err = fmt.Errorf("%s: %w", filepath.Join(u.HomeDir, AuthorizedKeys), ErrNotApplied)
	case r.Error != "":
		err = errors.New(plain(r.Error))
	}
	return r.Removed, err
}

func (t Task) runAs(u *user.User, args []string) (r result, err error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return r, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return r, err
	}
	in, out, err := start(args, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)})
	if err != nil {
		return r, err
	}
	return t.talk(in, out, taskTimeout)
}

// talk gives the process the task and takes its result, and closes both ends.
func (t Task) talk(in, out *os.File, timeout time.Duration) (r result, err error) {
	defer in.Close()
	defer out.Close()
	deadline := time.Now().Add(timeout)
	if err := errors.Join(in.SetDeadline(deadline), out.SetDeadline(deadline)); err != nil {
		return r, err
	}
	if err := json.NewEncoder(in).Encode(t); err != nil {
		return r, err
	}
	_ = in.Close()
	data, err := io.ReadAll(io.LimitReader(out, maxResult))
	if err != nil {
		return r, err
	}
	if json.Unmarshal(data, &r) != nil { // whose error may quote
		return r, errors.New("the process gave no proper answer")
	}
	return r, nil
}

// start starts this program with these arguments and no environment, and gives
// its standard input and output. It gets no supplementary groups, no standard
// error.
func start(args []string, as *syscall.Credential) (in, out *os.File, err error) {
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer stdin.Close()
	out, stdout, err := os.Pipe()
	if err != nil {
		_ = in.Close()
		return nil, nil, err
	}
	defer stdout.Close()
	process, err := os.StartProcess("/proc/self/exe", append([]string{os.Args[0]}, args...), &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{stdin, stdout},
		Sys: &syscall.SysProcAttr{Credential: as},
	})
	if err != nil {
		_, _ = in.Close(), out.Close()
		return nil, nil, err
	}
	go func() { _, _ = process.Wait() }()
	return in, out, nil
}

// RunTask is the process of [Task.RunAs].
func RunTask(stdin io.Reader, stdout io.Writer) error {
	var t Task
	if json.NewDecoder(io.LimitReader(stdin, 2*maxFile)).Decode(&t) != nil {
		return errors.New("cannot read what to remove: standard input is not what our service gives")
	}
	removed, err := Remove(t.Home, t.Remove, t.Present)
	r := result{Removed: removed, NotApplied: errors.Is(err, ErrNotApplied)}
	if err != nil {
		r.Error = err.Error()
	}
	return json.NewEncoder(stdout).Encode(r)
}

// plain is text of a user's process, fit for a log.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), 1000)], "")
}
