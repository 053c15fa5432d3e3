package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table is one table, for a terminal and for Markdown.
type table struct {
	title string
	text  string // below the title
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", t.title)
	aligned := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range t.rows {
		fmt.Fprintln(aligned, "  "+strings.Join(row, "\t"))
	}
	aligned.Flush()
}

func (t *table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n\n", t.title)
	if t.text != "" {
		fmt.Fprintf(b, "%s\n\n", t.text)
	}
	for i, row := range t.rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(b, "|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
}
