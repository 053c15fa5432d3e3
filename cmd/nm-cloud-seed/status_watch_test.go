package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeTerminal is as much of a terminal as a painter needs. What has scrolled away
// cannot be reached.
type fakeTerminal struct {
	width, height int
	cut           bool     // what is too long for a line does not go on in the next
	lines         [][]rune // all of them, from the oldest
	row, col      int
	writes        int
}

func (f *fakeTerminal) Write(b []byte) (int, error) {
	f.writes++
	text := []rune(string(b))
	for i := 0; i < len(text); i++ {
		for len(f.lines) <= f.row {
			f.lines = append(f.lines, nil)
		}
		line := f.lines[f.row]
		switch text[i] {
		case '\n':
			f.row++
			f.col = 0 // as the terminal driver has it
		case '\r':
			f.col = 0
		case '\x1b':
			n := 0
			if i += 2; text[i] == '?' {
				i++
			}
			for ; text[i] >= '0' && text[i] <= '9'; i++ {
				n = 10*n + int(text[i]-'0')
			}
			switch text[i] {
			case 'A':
				f.row = max(f.row-n, len(f.lines)-f.height, 0)
			case 'K':
				f.lines[f.row] = line[:min(f.col, len(line))]
			case 'J':
				f.lines[f.row] = line[:min(f.col, len(line))]
				f.lines = f.lines[:f.row+1]
			case 'l', 'h':
				f.cut = text[i] == 'l'
			default:
				return 0, fmt.Errorf("what is %q?", text[i])
			}
		default:
			if f.col == f.width {
				if f.cut {
					f.col--
				} else {
					f.row, f.col = f.row+1, 0
					i--
					continue
				}
			}
			for len(line) <= f.col {
				line = append(line, ' ')
			}
			line[f.col] = text[i]
			f.lines[f.row] = line
			f.col++
		}
	}
	return len(b), nil
}

func (f *fakeTerminal) String() string {
	var all []string
	for _, line := range f.lines {
		all = append(all, string(line))
	}
	return strings.TrimRight(strings.Join(all, "\n"), "\n")
}

// TestPaintReplacesThePictureBefore: each picture takes the place of the one before, longer or shorter, and what
// was on the terminal before stays there.
func TestPaintReplacesThePictureBefore(t *testing.T) {
	t.Parallel()
	lines := func(n int, text string) (lines []string) {
		for i := range n {
			lines = append(lines, fmt.Sprint(text, " ", i))
		}
		return lines
	}
	const before = "$ ls\nfile\n$ status --watch\n"
	for name, c := range map[string]struct {
		frames [][]string
		want   []string
	}{
		"longer":             {[][]string{lines(1, "a long one"), lines(3, "b")}, lines(3, "b")},
		"shorter":            {[][]string{lines(3, "a long one"), lines(1, "b")}, lines(1, "b")},
		"more than there is": {[][]string{lines(1, "a"), lines(20, "b"), lines(20, "c"), lines(2, "d")}, lines(2, "d")},
		"in the end, too":    {[][]string{lines(20, "b"), lines(20, "c")}, lines(20, "c")},
		// Lines are laid out for 40 columns at least.
		"more than goes into a line": {[][]string{lines(9, "too long for the terminal"), lines(3, "2 wide for a narrow terminal"), lines(1, "b")}, lines(1, "b")},
		"all of it in the end":       {[][]string{lines(2, "3 wide for a narrow terminal"), lines(1, "4 wide for a narrow terminal")}, []string{"4 wide for a narrow ", "terminal 0"}},
	} {
		for _, height := range []int{1, 2, 10} {
			f := &fakeTerminal{width: 20, height: height}
			if _, err := f.Write([]byte(before)); err != nil {
				t.Fatal(err)
			}
			p := &painter{w: f}
			for i, frame := range c.frames {
				if err := p.paint(frame, 39, f.height, i == len(c.frames)-1); err != nil {
					t.Fatal(err)
				}
				if f.col != 0 {
					t.Errorf("%s, %d rows: got the cursor in column %d, want 0", name, height, f.col)
				}
			}
			if diff := cmp.Diff(before+strings.Join(c.want, "\n"), f.String()); diff != "" {
				t.Errorf("%s, %d rows: -want +got:\n%s", name, height, diff)
			}
		}
	}
}

// TestPaintSkipsWhatIsShown: what is shown already is not painted again, but in the end.
func TestPaintSkipsWhatIsShown(t *testing.T) {
	t.Parallel()
	f := &fakeTerminal{width: 20, height: 10}
	p := &painter{w: f}
	for i := range 10 {
		if err := p.paint([]string{"a", "b"}, 39, f.height, i == 9); err != nil {
			t.Fatal(err)
		}
	}
	if f.writes != 2 || f.String() != "a\nb" {
		t.Errorf("got %q after %d writes, want %q after 2", f, f.writes, "a\nb")
	}
}

// TestPaintAfterResizeStartsBelow: a picture of another size is gone with the wind; the next one comes below.
func TestPaintAfterResizeStartsBelow(t *testing.T) {
	t.Parallel()
	f := &fakeTerminal{width: 20, height: 10}
	p := &painter{w: f}
	for _, width := range []int{79, 60, 60} {
		if err := p.paint([]string{fmt.Sprint("of ", width)}, width, f.height, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Write([]byte("^C")); err != nil { // what the terminal makes of it
		t.Fatal(err)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("of 79\nof 60", f.String()); diff != "" || f.col != 0 {
		t.Errorf("got column %d, want 0: -want +got:\n%s", f.col, diff)
	}
}
