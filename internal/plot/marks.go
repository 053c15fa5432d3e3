package plot

import "slices"

const laneHigh = 15.0

// marks draws moments as lines through all rows, their names above the rows.
func (d *drawing) marks(a axis, marks []Mark, top, bottom float64) {
	for i, lane := range laneOf(a, marks) {
		m := marks[i]
		class, x, y := "mark", a.x(m.At), top+laneHigh*float64(lane)+10
		if m.Ours {
			class = "mark ours"
		}
		d.back.line(class, x, y-10, x, bottom)
		if from, _ := place(a, m); from < x-space {
			d.front.text(x-space, y, class+" halo", "end", m.text())
		} else {
			d.front.text(x+space, y, class+" halo", "", m.text())
		}
	}
}

func (m Mark) text() string { return m.Name + " " + Time(m.At) }

// place is what a mark's name takes up beside its line: to the right of it where there
// is room.
func place(a axis, m Mark) (from, to float64) {
	x, wide := a.x(m.At), long(m.text())+3*space
	if x+wide <= right {
		return x - space/2, x + wide
	}
	return x - wide, x + space/2
}

// laneOf finds a lane for each mark's name, so that they do not run into each other.
func laneOf(a axis, marks []Mark) []int {
	var taken [][]Mark // by lane
	found := make([]int, len(marks))
	for i, m := range marks {
		from, to := place(a, m)
		lane := slices.IndexFunc(taken, func(others []Mark) bool {
			return !slices.ContainsFunc(others, func(other Mark) bool {
				start, end := place(a, other)
				return from < end && start < to
			})
		})
		if lane < 0 {
			lane, taken = len(taken), append(taken, nil)
		}
		taken[lane] = append(taken[lane], m)
		found[i] = lane
	}
	return found
}

func lanes(a axis, marks []Mark) float64 {
	n := 0
	for _, lane := range laneOf(a, marks) {
		n = max(n, lane+1)
	}
	return float64(n)
}
