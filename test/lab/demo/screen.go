package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

const (
	maxWidth = 100 // columns
	indent   = 2
	labels   = 14 // columns of a row's label
)

// screen writes the demo's output. On a terminal, its last line shows what goes
// on, until the next output.
type screen struct {
	out   io.Writer
	width func() int // columns now
	live  bool       // lines may be erased
	bold  bool

	mu     sync.Mutex
	doing  string
	frame  int
	ticker *time.Ticker
	done   chan struct{}
}

func newScreen(f *os.File) *screen {
	s := &screen{out: f, width: func() int { return maxWidth }}
	if term.IsTerminal(int(f.Fd())) {
		s.live = os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
		s.bold = s.live && os.Getenv("NO_COLOR") == ""
		s.width = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil || width < 40 { // of a serial console: 0
				return maxWidth
			}
			return min(width, maxWidth)
		}
	}
	return s
}

// doingNow shows what goes on from now on.
func (s *screen) doingNow(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		return
	}
	s.doing = text
	s.draw()
	if s.ticker != nil {
		return
	}
	s.ticker, s.done = time.NewTicker(100*time.Millisecond), make(chan struct{})
	go func(tick <-chan time.Time, done <-chan struct{}) {
		for {
			select {
			case <-tick:
				s.mu.Lock()
				s.frame++
				s.draw()
				s.mu.Unlock()
			case <-done:
				return
			}
		}
	}(s.ticker.C, s.done)
}

// draw needs s.mu. The line is shorter than the terminal, so that it does not wrap.
func (s *screen) draw() {
	if s.doing == "" {
		return
	}
	text := string(`|/-\`[s.frame%4]) + " " + s.doing
	if runes := []rune(text); len(runes) >= s.width() {
		text = string(runes[:s.width()-1])
	}
	fmt.Fprintf(s.out, "\r%s\x1b[K", text)
}

// stop erases the moving line for good.
func (s *screen) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	if s.ticker != nil {
		s.ticker.Stop()
		close(s.done)
		s.ticker = nil
	}
}

// erase needs s.mu.
func (s *screen) erase() {
	if s.doing != "" {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.doing = ""
	}
}

func (s *screen) print(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	for _, line := range lines {
		fmt.Fprintln(s.out, line)
	}
}

// heading begins a part: a word, and what it means.
func (s *screen) heading(word, text string) {
	lines := wrap(word+"  "+text, s.width(), utf8.RuneCountInString(word)+2)
	if s.bold {
		lines[0] = "\x1b[1m" + word + "\x1b[0m" + strings.TrimPrefix(lines[0], word)
	}
	s.print(append([]string{""}, lines...)...)
}

// row writes a label and a text beside it.
func (s *screen) row(label, text string) { s.wideRow(labels, label, text) }

// rows writes rows whose labels are as wide as the widest one.
func (s *screen) rows(rows [][2]string) {
	widest := labels
	for _, r := range rows {
		widest = max(widest, utf8.RuneCountInString(r[0]))
	}
	for _, r := range rows {
		s.wideRow(widest, r[0], r[1])
	}
}

func (s *screen) wideRow(width int, label, text string) {
	s.print(wrap(fmt.Sprintf("%*s%-*s  %s", indent, "", width, label, text), s.width(), indent+width+2)...)
}

// note writes a text over the whole width.
func (s *screen) note(text string) { s.print(wrap(text, s.width(), 0)...) }

// wrap breaks a line at blanks into lines of at most width columns. All but the
// first one are indented. The blanks of a line that is short enough stay.
func wrap(line string, width, indent int) (lines []string) {
	rest := []rune(line)
	for len(rest) > width {
		at := width
		for at > indent && rest[at] != ' ' {
			at--
		}
		if at <= indent { // a word that is wider than the line stays whole
			at = min(indent, len(rest))
			for at < len(rest) && rest[at] != ' ' {
				at++
			}
		}
		if at == len(rest) {
			break
		}
		lines = append(lines, strings.TrimRight(string(rest[:at]), " "))
		rest = []rune(strings.Repeat(" ", indent) + strings.TrimLeft(string(rest[at:]), " "))
	}
	return append(lines, string(rest))
}
