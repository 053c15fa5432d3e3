package main

import (
	"cmp"
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// screen is what a text is laid out for.
type screen struct {
	width  int      // columns; lines of a terminal are broken there
	height int      // rows of a terminal; 0: it is none
	blocks []string // what bars are made of: cells from nearly empty to full
	paint  func(colour, text string) string
}

// Blocks of bars. The fonts of Linux' own console have half of a block at most.
var (
	eighths = []string{"▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"}
	halves  = []string{"▌", "█"}
	plain   = []string{"#"}
)

func newScreen(w io.Writer) screen {
	s := screen{width: 80, blocks: blocksFor(os.Getenv)}
	s.paint = func(colour, text string) string { return paint(w, colour, text) }
	if terminal(w) {
		s.width, s.height = terminalSize(w)
		s.width = min(max(s.width, 40), 400) - 1 // the last column would make some go on in the next line
	}
	return s
}

// columns is the width of a terminal; 0: it is none.
func columns(w io.Writer) int {
	if !terminal(w) {
		return 0
	}
	width, _ := terminalSize(w)
	return width
}

// terminalSize is never nonsense, which a terminal may well say.
func terminalSize(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		width, height, _ = term.GetSize(int(f.Fd()))
	}
	if width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// blocksFor decides by the environment, see locale(7).
func blocksFor(env func(string) string) []string {
	locale := strings.ToLower(cmp.Or(env("LC_ALL"), env("LC_CTYPE"), env("LANG")))
	utf8 := strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
	switch {
	case !utf8 || env("TERM") == "dumb":
		return plain
	case env("TERM") == "linux":
		return halves
	}
	return eighths
}

// textMost bounds a text on the screen, in letters.
const textMost = 2000

// cleanText makes a text fit for a terminal, whoever wrote it.
func cleanText(text string) string {
	if len(text) > 4*textMost {
		text = text[:4*textMost]
	}
	runes := []rune(text)
	if len(runes) > textMost {
		runes = append(runes[:textMost-1], '…')
	}
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = ' '
		}
	}
	return string(runes)
}

// wrap breaks a text into lines of at most so many columns, between words where that
// is possible.
func wrap(text string, columns int) (lines []string) {
	line, used := "", 0
	for i, word := range strings.Split(text, " ") {
		wide := cells(word)
		if i > 0 {
			if used+1+wide <= columns {
				line, used = line+" ", used+1
			} else {
				lines, line, used = append(lines, line), "", 0
			}
		}
		for _, r := range word {
			if n := cells(string(r)); used+n > columns {
				lines, line, used = append(lines, line), string(r), n
			} else {
				line, used = line+string(r), used+n
			}
		}
	}
	return append(lines, line)
}

// cut is as much of a text as goes into so many columns.
func cut(text string, columns int) string {
	for i, r := range text {
		if columns -= cells(string(r)); columns < 0 {
			return text[:i]
		}
	}
	return text
}

// cells is how many columns a text takes at most: from U+2E80 on, most letters are wide.
func cells(text string) (n int) {
	for _, r := range text {
		n++
		if r >= 0x2e80 || r >= 0x1100 && r < 0x1160 {
			n++
		}
	}
	return n
}
