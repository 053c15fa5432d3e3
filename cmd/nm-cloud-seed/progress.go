package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/plot"
)

// progress shows a job as it goes: a line for each step with its time, and on a
// terminal a live line below them that says what goes on now.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	width int // of the terminal; 0: there is no live line
	start time.Time
	text  string
	done  chan struct{}
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, start: time.Now(), done: make(chan struct{})}
	if smart(w) {
		p.width = columns(w)
		go p.tick()
	}
	return p
}

// tick keeps the live line's clock going.
func (p *progress) tick() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.live()
			p.mu.Unlock()
		}
	}
}

// report takes the reports of a job.
func (p *progress) report(r daemon.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Step != "" {
		p.clear()
		fmt.Fprintf(p.w, "%10s  %s\n", since(p.start), r.Step)
	}
	if text := cleanText(r.Text); text != "" && text != p.text {
		p.text = text
		p.live()
	}
}

// follow shows in the live line what another process says, until end is called.
func (p *progress) follow(text func() string) (end func()) {
	over := make(chan struct{})
	var looking sync.WaitGroup
	if p.width > 0 {
		looking.Go(func() {
			ticker := time.NewTicker(lookAt)
			defer ticker.Stop()
			for {
				select {
				case <-over:
					return
				case <-ticker.C:
					p.report(daemon.Progress{Text: text()})
				}
			}
		})
	}
	return func() {
		close(over)
		looking.Wait()
		p.end()
	}
}

// Write lets log lines through, above the live line.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	n, err := p.w.Write(b)
	p.live()
	return n, err
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.done)
	p.clear()
	p.text, p.width = "", 0
}

func (p *progress) live() {
	if p.width == 0 || p.text == "" {
		return
	}
	p.clear()
	line := fmt.Sprintf("%10s  %s", since(p.start), p.text)
	if cells(line) >= p.width {
		line = cut(line, p.width-2) + "…"
	}
	fmt.Fprint(p.w, line)
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprint(p.w, "\r"+strings.Repeat(" ", p.width-1)+"\r")
	}
}

func since(t time.Time) string { return plot.Time(time.Since(t)) }
