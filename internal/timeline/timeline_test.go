package timeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/plot"
)

// recorded is a real boot: what `systemctl show` and `nm-cloud-seed status --json` said.
type recorded struct {
	boot  Boot
	units map[string]Unit // by all names
	state daemon.State
	last  time.Duration // the last timestamp
	fails string        // the unit of which systemd does not say anything
}

var about = About{System: "Debian GNU/Linux 13 (trixie)", Version: "1.0"}

func (r *recorded) Boot(context.Context) (Boot, error) { return r.boot, nil }

func (r *recorded) Unit(_ context.Context, name string) (Unit, error) {
	if name == r.fails {
		return Unit{}, errors.New("no answer")
	}
	return r.units[name], nil
}

func (r *recorded) chart(t *testing.T) plot.Chart {
	t.Helper()
	chart, err := Collect(t.Context(), r, r.state, about, r.last+100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return chart
}

// record reads a boot from testdata.
func record(t *testing.T, name string) *recorded {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
	}
	r := &recorded{units: make(map[string]Unit)}
	system := properties(files["manager"])
	r.boot = Boot{
		Kernel: system["KernelTimestamp"] != "", InitRD: r.time(system["InitRDTimestampMonotonic"]), Userspace: r.time(system["UserspaceTimestampMonotonic"]),
		Loaded: r.time(system["UnitsLoadFinishTimestampMonotonic"]), Finish: r.time(system["FinishTimestampMonotonic"]),
	}
	for block := range strings.SplitSeq(files["units"], "\n\n") {
		p := properties(block)
		u := Unit{
			ID: p["Id"], InactiveExit: r.time(p["InactiveExitTimestampMonotonic"]), ActiveEnter: r.time(p["ActiveEnterTimestampMonotonic"]),
			ActiveExit: r.time(p["ActiveExitTimestampMonotonic"]), InactiveEnter: r.time(p["InactiveEnterTimestampMonotonic"]),
		}
		for name := range strings.FieldsSeq(p["Names"]) {
			r.units[name] = u
		}
	}
	if err := json.Unmarshal([]byte(files["status.json"]), &r.state); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *recorded) time(microseconds string) time.Duration {
	n, _ := strconv.ParseInt(microseconds, 10, 64)
	at := time.Duration(n) * time.Microsecond
	r.last = max(r.last, at)
	return at
}

func properties(text string) map[string]string {
	p := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			p[name] = value
		}
	}
	return p
}

// describe is a chart as text.
func describe(c plot.Chart) string {
	var b strings.Builder
	ms := func(t time.Duration) string { return fmt.Sprintf("%.1f", float64(t.Microseconds())/1000) }
	rows := func(rows []plot.Row) {
		for _, row := range rows {
			fmt.Fprintf(&b, "  %-28s", row.Name)
			for _, s := range row.Spans {
				fmt.Fprintf(&b, " %s %s-%s", s.Kind, ms(s.From), ms(s.To))
			}
			b.WriteString("\n")
		}
	}
	fmt.Fprintf(&b, "%s\n%s\n", c.Title, c.Subtitle)
	rows(c.Rows)
	for _, m := range c.Marks {
		fmt.Fprintf(&b, "%s %s\n", m.Name, ms(m.At))
	}
	for _, d := range c.Details {
		fmt.Fprintf(&b, "%s %s-%s\n", d.Of, ms(d.From), ms(d.To))
		rows(d.Rows)
	}
	return b.String()
}

// TestChartsOfRecordedBoots compares them with charts that were looked at.
// UPDATE_GOLDEN=1 writes them.
func TestChartsOfRecordedBoots(t *testing.T) {
	t.Parallel()
	all, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(all) == 0 {
		t.Fatalf("got no recorded boots, want some: %v", err)
	}
	for _, file := range all {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		got := describe(record(t, name).chart(t))
		golden := filepath.Join("testdata", name+".golden")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func names(c plot.Chart) (names []string) {
	for _, row := range c.Rows {
		names = append(names, row.Name)
	}
	return names
}

// TestAliasesAreOneRow sees that one unit by two names is one row, whichever of
// them systemd gives.
func TestAliasesAreOneRow(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"cloud-init.service", "cloud-init-network.service"} {
		r := record(t, "trixie")
		u := r.units["cloud-init-network.service"]
		u.ID = id
		r.units["cloud-init-network.service"], r.units["cloud-init.service"] = u, u
		if got := names(r.chart(t)); !slices.Contains(got, id) || len(got) != len(names(record(t, "trixie").chart(t))) {
			t.Errorf("got rows %q, want one of the unit, named %s", got, id)
		}
	}
}

// TestRestartedUnitIsARowOfItsOwn sees that what systemd has forgotten is not
// passed over.
func TestRestartedUnitIsARowOfItsOwn(t *testing.T) {
	t.Parallel()
	r := record(t, "trixie")
	u := r.units["NetworkManager.service"]
	u.InactiveExit, u.ActiveEnter = u.InactiveExit+time.Second, u.ActiveEnter+time.Second
	r.units["NetworkManager.service"] = u
	got := names(r.chart(t))
	if i := slices.Index(got, "NetworkManager.service (again)"); i < slices.Index(got, ours) {
		t.Errorf("got rows %q, want NetworkManager.service (again) after %s", got, ours)
	}
}

// TestTimesCountFromTheKernelsStart has a virtual machine's, where they do.
func TestTimesCountFromTheKernelsStart(t *testing.T) {
	t.Parallel()
	r := record(t, "trixie")
	r.boot.Kernel = true
	r.boot.InitRD = r.boot.Userspace - time.Second
	c := r.chart(t)
	want := []plot.Span{{From: 0, To: r.boot.InitRD, Kind: plot.System}}
	if diff := cmp.Diff(want, c.Rows[0].Spans); diff != "" || c.Rows[0].Name != "kernel" || c.Rows[1].Name != "initrd" {
		t.Errorf("got rows %q, want kernel and initrd first; spans (-want +got):\n%s", names(c), diff)
	}
	if !strings.HasSuffix(c.Title, ", "+plot.Time(r.boot.Finish)) {
		t.Errorf("got title %q, want it to end with %s", c.Title, plot.Time(r.boot.Finish))
	}
}

// TestStateWithoutMonotonicClockIsPlaced sees that its steps are placed all the
// same.
func TestStateWithoutMonotonicClockIsPlaced(t *testing.T) {
	t.Parallel()
	for _, bad := range []int64{0, -1, 1 << 62} {
		r := record(t, "trixie")
		r.state.StartedMonotonic = bad
		c := r.chart(t)
		if !strings.Contains(c.Subtitle, "not placed exactly") || len(c.Details) != 1 {
			t.Fatalf("%d: got %s, want one detail that is not placed exactly", bad, describe(c))
		}
		seed := c.Details[0].Rows[5]
		if got := seed.Spans[0].To - c.Details[0].From; seed.Name != "seed" || got != 61189*time.Microsecond {
			t.Errorf("%d: got %s ended after %v, want seed after 61.189 ms", bad, seed.Name, got)
		}
	}
}

func TestChartOfABootUnderWay(t *testing.T) {
	t.Parallel()
	r := record(t, "trixie")
	for name, u := range r.units { // as it was at READY
		if u.InactiveExit > r.units[ours].InactiveExit {
			delete(r.units, name)
		}
	}
	u := r.units[ours]
	u.ActiveEnter = 0
	r.units[ours] = u
	r.boot.Finish = 0
	r.state.Phase, r.state.Ended, r.state.Steps = daemon.Searching, nil, r.state.Steps[:2]
	r.last = u.InactiveExit + 3*time.Second
	c := r.chart(t)
	last := c.Rows[len(c.Rows)-1]
	if last.Name != ours || last.Spans[0].To-last.Spans[0].From != 3100*time.Millisecond || !strings.Contains(c.Title, "not over yet") || len(c.Marks) > 0 {
		t.Errorf("got %s\nwant %s last, 3.1 s so far", describe(c), ours)
	}
	if strings.Contains(string(plot.Draw(c)), "healing") {
		t.Error("got healing in the legend, want it only where something is healed")
	}
}

// TestFailedUnitsAreShown sees that a failure is shown for the unit that has it.
func TestFailedUnitsAreShown(t *testing.T) {
	t.Parallel()
	for _, name := range []string{ours, "cloud-init-local.service", "NetworkManager.service", stages} {
		r := record(t, "heal")
		u := r.units[name]
		u.ActiveEnter, u.InactiveEnter = 0, u.InactiveExit+time.Second
		r.units[name] = u
		for _, row := range r.chart(t).Rows {
			if failed := row.Spans[0].Kind == plot.Failed; failed != (row.Name == name || row.Name == ours) {
				t.Errorf("%s failed; %s: got failed %t, want %t", name, row.Name, failed, !failed)
			}
		}
	}
}

// TestCollectHostileTimes sees that no state and no timestamps make a bar that
// ends before it begins, or is beyond the end.
func TestCollectHostileTimes(t *testing.T) {
	t.Parallel()
	for n := range 400 {
		r := record(t, "heal")
		odd := []time.Duration{-1, 0, 1, r.last, 1<<63 - 1, -1 << 63}
		pick := func(i int) time.Duration { return odd[(n+i*n/7+i)%len(odd)] }
		i := 0
		for name, u := range r.units {
			i++
			u.InactiveExit, u.ActiveEnter, u.ActiveExit, u.InactiveEnter = pick(i), pick(i+1), pick(i+2), pick(i+3)
			r.units[name] = u
		}
		for i := range r.state.Steps {
			r.state.Steps[i].At = float64(pick(i))
		}
		r.boot.Finish = pick(3)
		c := r.chart(t)
		for _, row := range c.Rows {
			for _, s := range row.Spans {
				if s.From < 0 || s.To < s.From {
					t.Fatalf("got a bar from %v to %v, want it to begin at 0 or later and end after that:\n%s", s.From, s.To, describe(c))
				}
			}
		}
		plot.Draw(c)
	}
}

func TestCollectFailsWithoutSystemd(t *testing.T) {
	t.Parallel()
	r := record(t, "trixie")
	r.fails = "dbus.socket"
	if _, err := Collect(t.Context(), r, r.state, about, r.last); err == nil || !strings.Contains(err.Error(), "cannot get the times of dbus.socket: no answer") {
		t.Errorf("got %v, want: cannot get the times of dbus.socket: no answer", err)
	}
	r.boot.Userspace = 0
	if _, err := Collect(t.Context(), r, r.state, about, r.last); err == nil {
		t.Error("without the time of the start: got no error, want one")
	}
}
