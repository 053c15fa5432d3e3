package seed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

// numbered is an instance whose two files tell their number, with sizes that
// differ, so that a mixture of two shows.
func numbered(n int) *datasource.Instance {
	return &datasource.Instance{
		ID:       fmt.Sprint(n),
		Metadata: map[string]string{"fill": strings.Repeat("x", n%7*10000)},
		UserData: bytes.Repeat([]byte(fmt.Sprintf("%d\n", n)), 1+n%5*5000),
	}
}

// numberSeen checks that the seed behind link is one whole generation.
func numberSeen(t *testing.T, link string) (n int) {
	t.Helper()
	got := seen(t, link)
	var meta map[string]string
	if err := json.Unmarshal([]byte(got[0]), &meta); err != nil {
		t.Fatalf("meta-data is broken: %v", err)
	}
	if _, err := fmt.Sscan(meta["instance-id"], &n); err != nil {
		t.Fatal(err)
	}
	if got != want(numbered(n)) {
		t.Fatalf("got the seed %.200q, want generation %d alone", got, n)
	}
	return n
}

// TestMain is also the entry of the processes that child starts.
func TestMain(m *testing.M) {
	s := Store{Dir: os.Getenv("SEED_TEST_DIR"), Link: os.Getenv("SEED_TEST_LINK")}
	var err error
	switch os.Getenv("SEED_TEST_CHILD") {
	case "writes":
		err = writeOn(s)
	case "disk full":
		err = writeTooMuch(s)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child runs one of the tasks below in a process of its own.
func child(task string, s Store) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SEED_TEST_CHILD="+task, "SEED_TEST_DIR="+s.Dir, "SEED_TEST_LINK="+s.Link)
	cmd.Stderr = os.Stderr
	return cmd
}

// writeOn writes seeds until it is killed, and a line to standard output for
// each: where nobody reads that any more, SIGPIPE ends it.
func writeOn(s Store) error {
	for n := 1; ; n++ {
		fmt.Println(n)
		if _, err := s.Write(numbered(n)); err != nil {
			return err
		}
	}
}

// TestWriterKilledAtAnyMoment kills a writer in one of its first writes, at a
// random share of the time that a write takes on this machine. After each kill
// the seed is one whole generation; in every fourth round a foreign seed must be
// kept aside. Rounds go on until a kill has hit a write in progress.
func TestWriterKilledAtAnyMoment(t *testing.T) {
	s, _ := newStore(t)
	random := rand.New(rand.NewPCG(3, 4))
	rounds, leftovers, foreign := 0, 0, 0
	took := time.Millisecond // of the newest write that was seen
	const most = 5000
	for ; rounds < 40 || leftovers == 0; rounds++ {
		if rounds == most {
			t.Fatalf("got no kill in a write in %d rounds, want one", most)
		}
		if rounds%4 == 0 {
			if err := os.RemoveAll(filepath.Dir(s.Link)); err != nil {
				t.Fatal(err)
			}
			if err := WriteDir(s.Link, numbered(0)); err != nil {
				t.Fatal(err)
			}
		}
		cmd := child("writes", s)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := func() {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait()
		}
		lines := bufio.NewReader(out)
		begun := time.Now()
		for n := range 1 + random.IntN(3) { // begun writes
			if _, err := lines.ReadString('\n'); err != nil {
				kill()
				t.Fatal(err)
			}
			if n > 0 { // else it was the start of the process, too
				took = time.Since(begun)
			}
			begun = time.Now()
		}
		share := time.Duration(random.Int64N(int64(took) + 1))
		for begun := time.Now(); ; {
			if _, err := os.Lstat(s.Link); err != nil {
				t.Errorf("round %d: got a moment without a seed, want none: %v", rounds, err)
			}
			if time.Since(begun) >= share {
				break
			}
		}
		kill()
		if numberSeen(t, s.Link) == 0 {
			foreign++
			continue
		}
		if rounds%4 == 0 {
			if n := numberSeen(t, s.Link+keptSuffix); n != 0 {
				t.Errorf("round %d: got generation %d kept aside, want 0", rounds, n)
			}
		}
		if entries, err := os.ReadDir(s.generations()); err == nil && len(entries) > 1 {
			leftovers++
		}
	}
	t.Logf("of %d kills %d left a second generation and %d came before the first write", rounds, leftovers, foreign)
	write(t, s, numbered(7))
	for dir, want := range map[string]int{s.Dir: 2, s.generations(): 1} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != want {
			t.Errorf("%s: got %v (%v), want %d entries", dir, entries, err, want)
		}
	}
}

// writeTooMuch writes a seed that does not fit.
func writeTooMuch(s Store) error {
	signal.Ignore(syscall.SIGXFSZ) // then write(2) returns an error instead
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4096, Max: 4096}); err != nil {
		return err
	}
	_, err := s.Write(&datasource.Instance{ID: "big", UserData: bytes.Repeat([]byte("s3cret"), 4096)})
	if !errors.Is(err, syscall.EFBIG) || strings.Contains(err.Error(), "s3cret") {
		return fmt.Errorf("error %w, want EFBIG", err)
	}
	return nil
}

func TestWriteToFullDiskChangesNothing(t *testing.T) {
	s, root := newStore(t)
	write(t, s, numbered(1))
	before := tree(t, root)
	if err := child("disk full", s).Run(); err != nil {
		t.Fatal(err)
	}
	after := tree(t, root)
	if len(before) != len(after) {
		t.Errorf("got %v, want the tree as before: %v", after, before)
	}
	if n := numberSeen(t, s.Link); n != 1 {
		t.Errorf("got generation %d, want 1", n)
	}
}

// TestConcurrentWritesKeepOneSeed sees that runs at the same time do not prune
// each other's work.
func TestConcurrentWritesKeepOneSeed(t *testing.T) {
	s, _ := newStore(t)
	var wg sync.WaitGroup
	for n := 1; n <= 8; n++ {
		wg.Go(func() {
			for range 20 {
				if _, err := s.Write(numbered(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	numberSeen(t, s.Link)
	if _, err := os.Lstat(s.Link + keptSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want nothing kept aside", err)
	}
}
