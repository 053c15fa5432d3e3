package plot

import (
	"fmt"
	"slices"
	"time"
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
	space   = 5.0 // between a bar and its note
)

// Draw makes an SVG document of a chart.
func Draw(c Chart) []byte {
	d := drawing{y: 34}
	d.front.text(margin, d.y, "title", "", c.Title)
	d.y += 21
	d.front.text(margin, d.y, "note", "", c.Subtitle)
	d.y += 18

	all := events(c.Rows, c.Marks)
	a := newAxis(all, 0, slices.Max(all), left, right-left)
	top := d.y
	d.y += laneHigh*lanes(a, c.Marks) + 4
	bottom := d.y + rowHigh*float64(len(c.Rows))
	places := d.rows(a, c.Rows)
	d.marks(a, c.Marks, top, bottom)
	for i, detail := range c.Details {
		above, ok := places[detail.Of]
		d.detail(detail, func(y float64) {
			if ok && i == 0 { // another would go through this one
				d.lens(a, detail, above, y)
			}
		})
	}
	d.legend(c)
	return d.document(c.Title)
}

// drawing is a picture under way, from top to bottom.
type drawing struct {
	back  layer // the grid and what else is behind the bars
	front layer
	y     float64 // how far it is
}

func (d *drawing) document(title string) []byte {
	high := d.y + margin
	var l layer
	l.printf(`<svg xmlns="http://www.w3.org/2000/svg" role="img" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f">`, width, high, width, high)
	l.printf("<title>%s</title>", escape(title))
	l.printf("<style>%s</style>", style)
	l.printf(`<rect class="paper frame" x="0.5" y="0.5" width="%.1f" height="%.1f" rx="8"/>`, width-1, high-1)
	l.Write(d.back.Bytes())
	l.Write(d.front.Bytes())
	l.printf("</svg>")
	return l.Bytes()
}

// rows draws rows with their axis, and returns where each of them is.
func (d *drawing) rows(a axis, rows []Row) (middle map[string]float64) {
	top, bottom := d.y, d.y+rowHigh*float64(len(rows))
	for i := range rows {
		if i%2 == 0 {
			d.back.rect("shade", margin-6, top+rowHigh*float64(i), right-margin+12, rowHigh, "")
		}
	}
	middle = make(map[string]float64)
	for i, row := range rows {
		y := top + rowHigh*float64(i) + rowHigh/2
		middle[row.Name] = y
		for _, s := range row.Spans {
			x, wide := bar(a, s)
			d.front.rect(s.Kind.String(), x, y-barHigh/2, wide, barHigh,
				fmt.Sprintf("%s: %s, from %s to %s", row.Name, Time(s.To-s.From), Time(s.From), Time(s.To)))
		}
	}
	for _, c := range a.cuts() {
		d.front.zigzag(c.x-cutWidth/2+6, c.x+cutWidth/2-6, top, bottom)
	}
	for i, row := range rows {
		y := top + rowHigh*float64(i) + rowHigh/2 + 4
		d.front.text(margin, y, "name", "", row.Name)
		d.note(a, row, y)
	}
	d.ticks(a, top, bottom)
	return middle
}

// ticks draws the axis below the rows.
func (d *drawing) ticks(a axis, top, bottom float64) {
	for _, t := range a.ticks() {
		d.back.line("grid", t.x, top, t.x, bottom)
		d.front.text(t.x, bottom+15, "tick", "middle", t.text)
	}
	d.y = bottom + 20
	for _, c := range a.cuts() {
		d.front.text(c.x, bottom+28, "tick", "middle", Time(c.time)+" left out")
		d.y = bottom + 33
	}
}

// bar is where a span is, and never nothing.
func bar(a axis, s Span) (x, wide float64) {
	x = a.x(s.From)
	wide = max(a.x(s.To)-x, thin)
	return min(x, right-wide), wide
}

// note writes how long a row took: behind its bars or, for want of space, before them
// or in them.
func (d *drawing) note(a axis, row Row, y float64) {
	took, from, to, ok := row.took()
	if !ok || took < time.Millisecond/20 {
		return
	}
	text := Time(took)
	start, end := a.x(from), max(a.x(to), a.x(from)+thin)
	class := "note"
	if !slices.ContainsFunc(row.Spans, func(s Span) bool { return s.Kind == Active }) {
		class = "note halo" // lines may run through it
	}
	switch wide := space + long(text); {
	case end+wide <= right:
		d.front.text(end+space, y, class, "", text)
	case start-wide >= left:
		d.front.text(start-space, y, class, "end", text)
	default:
		d.front.text(end-space, y, "inside", "end", text)
	}
}

// detail enlarges a part of the rows above, all of it: nothing is cut out. lens is told
// where it begins.
func (d *drawing) detail(detail Detail, lens func(y float64)) {
	d.y += 24
	d.front.text(margin, d.y, "head", "", detail.Of+", enlarged")
	d.y += 10
	lens(d.y)
	d.rows(newAxis(nil, detail.From, detail.To, left, right-left), detail.Rows)
}

// lens leads from a row to its detail.
func (d *drawing) lens(a axis, detail Detail, above, below float64) {
	x, wide := bar(a, Span{From: detail.From, To: detail.To})
	d.back.printf(`<polygon class="lens" points="%.1f,%.1f %.1f,%.1f %.1f,%.1f %.1f,%.1f"/>`, x, above, x+wide, above, right, below, left, below)
}

func (d *drawing) legend(c Chart) {
	var used [len(kinds)]bool
	all := slices.Clone(c.Rows)
	for _, detail := range c.Details {
		all = append(all, detail.Rows...)
	}
	for _, row := range all {
		for _, s := range row.Spans {
			used[s.Kind] = true
		}
	}
	d.y += 24
	x := left
	for kind, yes := range used {
		if yes {
			k := kinds[kind]
			d.front.rect(k.class, x, d.y-9, barHigh, 10, "")
			x += barHigh + space
			d.front.text(x, d.y, "note", "", k.text)
			x += long(k.text) + 18
		}
	}
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
