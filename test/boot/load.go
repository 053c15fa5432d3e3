package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// load returns a line with the load of the machine: times mean nothing without it.
// https://man7.org/linux/man-pages/man5/proc_loadavg.5.html
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(text))
	if err != nil || len(f) < 3 {
		return "the load of this machine is unknown"
	}
	return fmt.Sprintf("load %s (1 min) %s (5 min) %s (15 min) on %d processors", f[0], f[1], f[2], runtime.NumCPU())
}
