package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// layer are elements of SVG, later ones above earlier ones.
type layer struct{ bytes.Buffer }

func (l *layer) printf(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }

func (l *layer) text(x, y float64, class, anchor, text string) {
	if anchor != "" {
		anchor = fmt.Sprintf(` text-anchor="%s"`, anchor)
	}
	l.printf(`<text class="%s" x="%.1f" y="%.1f"%s>%s</text>`, class, x, y, anchor, escape(text))
}

// rect may have a tip, shown where the pointer is.
func (l *layer) rect(class string, x, y, wide, high float64, tip string) {
	if tip != "" {
		tip = "<title>" + escape(tip) + "</title>"
	}
	l.printf(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f">%s</rect>`, class, x, y, wide, high, tip)
}

func (l *layer) line(class string, x1, y1, x2, y2 float64) {
	l.printf(`<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

// zigzag is a piece torn out of what is below it.
func (l *layer) zigzag(x1, x2, top, bottom float64) {
	const high, deep = rowHigh / 2, 4.0
	edge := func(x float64) (points []string) {
		shift := 0.0
		for y := top; y <= bottom; y += high {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x+shift, y))
			shift = deep - shift
		}
		return points
	}
	one, other := edge(x1), edge(x2)
	slices.Reverse(other)
	l.printf(`<polygon class="paper" points="%s %s"/>`, strings.Join(one, " "), strings.Join(other, " "))
	for _, points := range [][]string{one, other} {
		l.printf(`<polyline class="tear" points="%s"/>`, strings.Join(points, " "))
	}
}

// long is about how many pixels a note is.
func long(text string) float64 { return 6.1 * float64(utf8.RuneCountInString(text)) }

// textMost is more than any text of the picture has.
const textMost = 140

// escape makes a text fit for XML, and bounds it.
func escape(text string) string {
	if len(text) > 8*textMost {
		text = text[:8*textMost]
	}
	runes := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text))
	if len(runes) > textMost {
		runes = append(runes[:textMost-1], '…')
	}
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(string(runes))) // a Builder takes everything
	return b.String()
}
