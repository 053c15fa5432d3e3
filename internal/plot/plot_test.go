package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

func span(from, to time.Duration, k Kind) Span { return Span{from * ms, to * ms, k} }

// usual has all that a boot has.
func usual() Chart {
	return Chart{
		Title: "Boot of <Example & Co.> 1, 4.05 s", Subtitle: "nm-cloud-seed 1.0: ready, 193 ms of the boot",
		Rows: []Row{
			{"kernel", []Span{span(0, 341, System)}},
			{"dbus.socket", []Span{span(1403, 1403, Starting), span(1403, 4050, Active)}},
			{"NetworkManager.service", []Span{span(1447, 1624, Starting), span(1624, 4050, Active)}},
			{"nm-cloud-seed.service", []Span{span(1659, 1852, Ours)}},
			{"cloud-init-network.service", []Span{span(1859, 3472, Starting)}},
			{"cloud-final.service", []Span{span(3777, 3951, Starting)}},
		},
		Marks: []Mark{{"READY", 1852 * ms, true}, {"network-online.target", 3484 * ms, false}, {"multi-user.target", 3770 * ms, false}},
		Details: []Detail{{Of: "nm-cloud-seed.service", From: 1659 * ms, To: 1852 * ms, Rows: []Row{
			{"start of the process", []Span{span(1659, 1735, System)}},
			{"lease", []Span{span(1735, 1786, Step)}},
			{"seed", []Span{span(1786, 1797, Step)}},
			{"until cloud-init may go on", []Span{span(1797, 1852, System)}},
		}}},
	}
}

// hours is a boot without a virtual router, which comes much later.
func hours() Chart {
	const later = 7200000
	return Chart{
		Title: "Boot of Example 1, 14.9 s", Subtitle: "nm-cloud-seed 1.0: ready",
		Rows: []Row{
			{"dbus.service", []Span{span(1447, 1600, Starting), span(1600, later+4000, Active)}},
			{"nm-cloud-seed.service", []Span{span(2000, 12000, Failed)}},
			{"cloud-init.service", []Span{span(12100, 14000, Starting)}},
			{"nm-cloud-seed-heal.service", []Span{span(15000, later+4000, Waiting)}},
			{"nm-cloud-seed-stages.service", []Span{span(later, later+3900, Starting)}},
		},
		Marks: []Mark{{"multi-user.target", 14100 * ms, false}},
		Details: []Detail{
			{Of: "nm-cloud-seed.service", From: 2000 * ms, To: 12000 * ms, Rows: []Row{{"failed", []Span{span(2000, 12000, Failed)}}}},
			{Of: "nm-cloud-seed-heal.service", From: 15000 * ms, To: (later + 4000) * ms, Rows: []Row{{"virtual router", []Span{span(15000, later, Step)}}}},
		},
	}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Chart{"usual": usual(), "hours": hours(), "empty": {}} {
		got := Draw(c)
		if _, err := texts(got); err != nil {
			t.Errorf("%s: got an image that is not XML: %v", name, err)
		}
		golden(t, "testdata/"+name+".svg", got)
	}
}

// golden compares with a file. UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: -want +got:\n%s", name, diff)
	}
}

// texts are what can be read in a picture.
func texts(svg []byte) (all []string, err error) {
	d := xml.NewDecoder(bytes.NewReader(svg))
	in := ""
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			in = token.Name.Local
		case xml.EndElement:
			in = ""
		case xml.CharData:
			if in == "text" {
				all = append(all, string(token))
			}
		}
	}
}

// TestHostile: names are texts, whatever is in them, and any times are drawn on the
// paper.
func TestDrawHostileText(t *testing.T) {
	t.Parallel()
	evil := "</text><script>alert(1)</script>\x00\x1b\xff\u202e]]>&\"' " + strings.Repeat("x", 10000)
	times := []time.Duration{0, -1, math.MinInt64, math.MaxInt64, 1, time.Hour}
	c := Chart{Title: evil, Subtitle: evil}
	for _, from := range times {
		for _, to := range times {
			row := Row{evil, []Span{{from, to, Starting}}}
			c.Rows = append(c.Rows, row)
			c.Marks = append(c.Marks, Mark{evil, from, true})
			c.Details = append(c.Details, Detail{Of: evil, From: from, To: to, Rows: []Row{row}})
		}
	}
	svg := Draw(c)
	all, err := texts(svg)
	if err != nil || len(all) == 0 {
		t.Fatalf("got %d texts, %v, want some", len(all), err)
	}
	if bytes.Contains(svg, []byte("<script")) || bytes.Contains(svg, []byte("\u202e")) || bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
		t.Errorf("got markup, direction marks or no numbers in the image, want none:\n%.2000s", svg)
	}
	if len(svg) > 1<<20 {
		t.Errorf("got %d bytes, want at most 1 MiB", len(svg))
	}
}

// TestAxisIsMonotonic sees that the ends are the ends, and that no time is drawn
// before an earlier one.
func TestAxisIsMonotonic(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		to     time.Duration
		events []time.Duration
		cuts   int
	}{
		"short": {ms, nil, 0}, "even": {10 * time.Second, []time.Duration{0, 3 * time.Second, 7 * time.Second, 10 * time.Second}, 0},
		"nothing but a gap":  {time.Hour, []time.Duration{0, time.Hour}, 0},
		"a kernel":           {15 * time.Second, []time.Duration{0, 10 * time.Second, 15 * time.Second}, 0},
		"hours":              {2 * time.Hour, []time.Duration{0, 10 * time.Second, 2 * time.Hour}, 1},
		"hours in the midst": {2 * time.Hour, []time.Duration{0, 10 * time.Second, 2*time.Hour - time.Second, 2 * time.Hour}, 1},
		"twice":              {9 * time.Hour, []time.Duration{0, time.Second, 4 * time.Hour, 4*time.Hour + time.Second, 9*time.Hour - time.Second, 9 * time.Hour}, 2},
		"minutes":            {5 * time.Minute, []time.Duration{0, 2 * time.Minute, 5 * time.Minute}, 0},
		"no less than much":  {220 * time.Second, []time.Duration{0, 2 * time.Minute, 170 * time.Second, 220 * time.Second}, 0},
		"the deadline":       {135 * time.Second, []time.Duration{0, 5 * time.Second, 125 * time.Second, 130 * time.Second, 135 * time.Second}, 1},
	} {
		a := newAxis(c.events, 0, c.to, 100, 500)
		if got := len(a.cuts()); got != c.cuts {
			t.Errorf("%s: got %d cuts, want %d", name, got, c.cuts)
		}
		if first, last := a.x(0), a.x(c.to); math.Abs(first-100) > 0.1 || math.Abs(last-600) > 0.1 {
			t.Errorf("%s: got an axis from %f to %f, want 100 to 600", name, first, last)
		}
		before := 0.0
		for i := range 1000 {
			x := a.x(c.to / 1000 * time.Duration(i))
			if x < before {
				t.Errorf("%s: got %f after %f, want no step back", name, x, before)
			}
			before = x
		}
		ticks := a.ticks()
		if len(ticks) < 2 || len(ticks) > 12 {
			t.Errorf("%s: got %d ticks, want 2 to 12", name, len(ticks))
		}
	}
}

// TestMarksDoNotOverlap sees that their names do not.
func TestMarksDoNotOverlap(t *testing.T) {
	t.Parallel()
	c := usual()
	for i := range c.Marks {
		c.Marks[i].At = 2 * time.Second
	}
	a := newAxis(nil, 0, 4*time.Second, left, right-left)
	if diff := cmp.Diff([]int{0, 1, 2}, laneOf(a, c.Marks)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	c.Marks[1].At = 0
	if diff := cmp.Diff([]int{0, 0, 1}, laneOf(a, c.Marks)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTimeIsShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0.0 ms", -time.Second: "0.0 ms", 430 * time.Microsecond: "0.4 ms", 9940 * time.Microsecond: "9.9 ms", 9960 * time.Microsecond: "10 ms",
		57 * ms: "57 ms", 999 * ms: "999 ms", 999600 * time.Microsecond: "1.00 s", 1620 * ms: "1.62 s", 15 * time.Second: "15.0 s",
		120 * time.Second: "2 min 00 s", 3599 * time.Second: "59 min 59 s", time.Hour: "1 h 00 min", 99*time.Hour + 59*time.Minute: "99 h 59 min",
		100 * time.Hour: "4 days", math.MaxInt64: "106752 days",
	} {
		if got := Time(d); got != want {
			t.Errorf("%d: got %q, want %q", d, got, want)
		}
	}
}
