package plot

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The picture's measures, in pixels. It is as wide as a README.
const (
	width   = 900.0
	margin  = 20.0
	left    = 232.0 // of the bars
	right   = width - margin
	rowHigh = 22.0
	barHigh = 12.0
	thin    = 1.5 // the least of a bar
	laneGap = 15.0
	letter  = 6.1 // about as wide, in the size of notes
)

// Draw makes an SVG document of a chart.
func Draw(c Chart) []byte {
	d := drawing{y: 34}
	d.text(margin, d.y, "title", "", c.Title)
	d.y += 21
	d.text(margin, d.y, "note", "", c.Subtitle)
	d.y += 14

	a := newAxis(events(c.Rows, c.Marks), 0, end(c.Rows, c.Marks), left, right-left)
	top := d.y + 4
	d.y += laneGap*float64(lanes(a, c.Marks)) + 8
	bottom := d.grid(a, len(c.Rows))
	d.marks(a, c.Marks, top, bottom)
	main := d.rows(a, c.Rows)
	d.ticks(a, bottom)
	for _, detail := range c.Details {
		d.detail(a, main, detail)
	}
	d.legend(c)
	return d.document(c.Title)
}

// drawing is a picture under way. Things are drawn from top to bottom.
type drawing struct {
	b strings.Builder
	y float64 // how far it is
}

func (d *drawing) document(title string) []byte {
	high := d.y + margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" role="img" width="%.0f" height="%.0f" viewBox="0 0 %[1]g %[2]g">`+"\n", width, high)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", escape(title), style)
	fmt.Fprintf(&b, `<rect class="paper" x="0.5" y="0.5" width="%g" height="%g" rx="8"/>`+"\n", width-1, high-1)
	b.WriteString(d.b.String())
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// grid draws what lies behind the rows: every other one is shaded, and the time has
// lines. It returns where they end.
func (d *drawing) grid(a axis, rows int) (bottom float64) {
	bottom = d.y + rowHigh*float64(rows)
	for i := 0; i < rows; i += 2 {
		d.rect("shade", margin-6, d.y+rowHigh*float64(i), right-margin+12, rowHigh, "")
	}
	for _, t := range a.ticks() {
		d.line("grid", t.x, d.y, t.x, bottom)
	}
	return bottom
}

func (d *drawing) ticks(a axis, bottom float64) {
	for _, t := range a.ticks() {
		d.text(t.x, bottom+15, "tick", "middle", t.text)
	}
	for _, c := range a.cuts() {
		d.rect("paper cut", c.x-cutWidth/2+4, bottom-rowHigh*0.2, cutWidth-8, 1, "")
		d.text(c.x, bottom+29, "tick", "middle", Time(c.time)+" cut out")
	}
	d.y = bottom + 20
	if len(a.parts) > 1 {
		d.y += 14
	}
}

// rows draws the rows' names and bars. It returns where each row is.
func (d *drawing) rows(a axis, rows []Row) map[string]float64 {
	at := make(map[string]float64)
	for _, row := range rows {
		middle := d.y + rowHigh/2
		at[row.Name] = middle
		d.text(margin, middle+4, "name", "", row.Name)
		for _, s := range row.Spans {
			x := a.x(s.From)
			wide := max(a.x(s.To)-x, thin)
			d.rect(s.Kind.class(), min(x, right-wide), middle-barHigh/2, wide, barHigh,
				fmt.Sprintf("%s: %s, from %s to %s", row.Name, Time(s.To-s.From), Time(s.From), Time(s.To)))
		}
		if took, from, to, ok := row.took(); ok {
			text := Time(took)
			x, anchor := max(a.x(to), a.x(from)+thin)+5, ""
			if x+long(text) > right {
				x, anchor = a.x(from)-5, "end"
			}
			d.text(x, middle+4, "note", anchor, text)
		}
		d.y += rowHigh
	}
	return at
}

// marks draws moments, the names in lanes above the rows.
func (d *drawing) marks(a axis, marks []Mark, top, bottom float64) {
	for i, lane := range laneOf(a, marks) {
		m := marks[i]
		class, x, y := "mark", a.x(m.At), top+laneGap*float64(lane)+9
		if m.Ours {
			class = "mark ours"
		}
		d.line(class, x, y-9, x, bottom)
		text := m.Name + " " + Time(m.At)
		if tx := x + 5; tx+long(text) <= right {
			d.text(tx, y, class, "", text)
		} else {
			d.text(x-5, y, class, "end", text)
		}
	}
}

// laneOf finds a lane for each mark's name, so that they do not run into each other.
func laneOf(a axis, marks []Mark) []int {
	type stretch struct{ from, to float64 }
	var lanes [][]stretch
	found := make([]int, len(marks))
	for i, m := range marks {
		x, wide := a.x(m.At), long(m.Name+" "+Time(m.At))+14
		s := stretch{x - 3, x + wide}
		if x+wide > right {
			s = stretch{x - wide, x + 3}
		}
		lane := slices.IndexFunc(lanes, func(taken []stretch) bool {
			return !slices.ContainsFunc(taken, func(t stretch) bool { return s.from < t.to && t.from < s.to })
		})
		if lane < 0 {
			lane, lanes = len(lanes), append(lanes, nil)
		}
		lanes[lane] = append(lanes[lane], s)
		found[i] = lane
	}
	return found
}

func lanes(a axis, marks []Mark) int {
	if len(marks) == 0 {
		return 0
	}
	return slices.Max(laneOf(a, marks)) + 1
}

// detail enlarges a part of the rows above.
func (d *drawing) detail(above axis, rowsAbove map[string]float64, detail Detail) {
	a := newAxis(events(detail.Rows, nil), detail.From, detail.To, left, right-left)
	d.y += 26
	d.text(margin, d.y, "head", "", detail.Title)
	if y, ok := rowsAbove[detail.Title]; ok {
		y += barHigh / 2
		x1, x2 := above.x(detail.From), max(above.x(detail.To), above.x(detail.From)+thin)
		fmt.Fprintf(&d.b, `<polygon class="lens" points="%.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f"/>`+"\n", x1, y, x2, y, right, d.y+8, left, d.y+8)
	}
	d.y += 8
	bottom := d.grid(a, len(detail.Rows))
	d.rows(a, detail.Rows)
	d.ticks(a, bottom)
}

func (d *drawing) legend(c Chart) {
	var used [len(kinds)]bool
	for _, row := range c.Rows {
		for _, s := range row.Spans {
			used[s.Kind] = true
		}
	}
	for _, detail := range c.Details {
		for _, row := range detail.Rows {
			for _, s := range row.Spans {
				used[s.Kind] = true
			}
		}
	}
	d.y += 24
	x := left
	for kind, yes := range used {
		if !yes {
			continue
		}
		k := kinds[kind]
		d.rect(k.class, x, d.y-9, barHigh, 10, "")
		d.text(x+barHigh+5, d.y, "note", "", k.text)
		x += barHigh + 5 + long(k.text) + 16
	}
}

func (d *drawing) text(x, y float64, class, anchor, text string) {
	if anchor != "" {
		anchor = fmt.Sprintf(` text-anchor="%s"`, anchor)
	}
	fmt.Fprintf(&d.b, `<text class="%s" x="%.1f" y="%.1f"%s>%s</text>`+"\n", class, x, y, anchor, escape(text))
}

func (d *drawing) rect(class string, x, y, wide, high float64, tip string) {
	fmt.Fprintf(&d.b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"`, class, x, y, wide, high)
	if tip == "" {
		d.b.WriteString("/>\n")
		return
	}
	fmt.Fprintf(&d.b, "><title>%s</title></rect>\n", escape(tip))
}

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&d.b, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", class, x1, y1, x2, y2)
}

// events are the times at which something happens.
func events(rows []Row, marks []Mark) []time.Duration {
	all := []time.Duration{0}
	for _, row := range rows {
		for _, s := range row.Spans {
			all = append(all, s.From, s.To)
		}
	}
	for _, m := range marks {
		all = append(all, m.At)
	}
	return all
}

func end(rows []Row, marks []Mark) time.Duration { return slices.Max(events(rows, marks)) }

// long is about how many pixels a note is.
func long(text string) float64 { return letter * float64(utf8.RuneCountInString(text)) }

// textMost is more than any name in the picture has.
const textMost = 120

// escape makes a text fit for XML, and bounds it.
func escape(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > textMost {
		text = string(runes[:textMost-1]) + "…"
	}
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
