package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// What a scenario takes of the machine while it boots, as measured: a virtual
// machine has 1 GiB and keeps one processor busy, a container mostly waits. Both
// have what they change in memory.
const (
	containersPerCPU     = 3
	weightOfContainer    = 1
	weightOfVirtual      = containersPerCPU
	containerMiB         = 700
	inotifyPerContainer  = 16 // instances: 9 were counted in a booted system
	inotifyLimitFile     = "/proc/sys/fs/inotify/max_user_instances"
	inotifyLimitAdvice   = "sysctl fs.inotify.max_user_instances=1024"
	unknown              = -1
	memoryInfo           = "/proc/meminfo"
	memoryAvailableField = "MemAvailable:"
)

// room is what the machine has for scenarios: containers side by side, and a
// virtual machine in the place of weightOfVirtual of them.
type room struct {
	containers int64
	limitedBy  string // what a person would have to raise for more
}

// measureRoom returns the room of this machine.
func measureRoom() room {
	return roomFor(runtime.NumCPU(), availableMiB(), freeInotify())
}

// roomFor returns the room of a machine with so many processors, MiB of memory and
// free inotify instances. The last two may be unknown. One scenario always fits.
func roomFor(processors, memoryMiB, inotify int) room {
	r := room{int64(processors) * containersPerCPU, fmt.Sprintf("%d processors", processors)}
	less := func(n int, why string) {
		if n := int64(max(n, 1)); n < r.containers {
			r = room{n, why}
		}
	}
	if memoryMiB != unknown {
		less(memoryMiB/containerMiB, fmt.Sprintf("%d MiB of free memory", memoryMiB))
	}
	if inotify != unknown {
		less(inotify/inotifyPerContainer, fmt.Sprintf("%d free inotify instances (more: %s)", inotify, inotifyLimitAdvice))
	}
	return r
}

// weight returns how many containers' room a scenario takes, in this room.
func (r room) weight(s scenario) int64 {
	if s.virtual != nil {
		return min(weightOfVirtual, r.containers)
	}
	return weightOfContainer
}

// availableMiB returns the memory that programs can still have, or unknown.
// https://man7.org/linux/man-pages/man5/proc_meminfo.5.html
func availableMiB() int {
	text, err := os.ReadFile(memoryInfo)
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == memoryAvailableField {
			if kib, err := strconv.Atoi(f[1]); err == nil {
				return kib / 1024
			}
		}
	}
	return unknown
}

// freeInotify returns how many inotify instances root may still make, or unknown.
// The limit is per user, and a container's root is this machine's.
// https://man7.org/linux/man-pages/man7/inotify.7.html
func freeInotify() int {
	text, err := os.ReadFile(inotifyLimitFile)
	if err != nil {
		return unknown
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return unknown
	}
	descriptors, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return unknown
	}
	for _, d := range descriptors {
		if to, err := os.Readlink(d); err == nil && to == "anon_inode:inotify" {
			limit--
		}
	}
	return max(limit, 0)
}
