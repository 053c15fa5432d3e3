package main

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine describes where it was measured, and what.
type machine struct {
	cpu, debian, kernel  string
	networkManager, curl string
	cloudInit, load      string
	date                 time.Time

	size             int64 // of the binary
	static, stripped bool
}

func describe(ctx context.Context, binary string) (*machine, error) {
	m := &machine{date: time.Now().UTC()}
	m.cpu = line("/proc/cpuinfo", "model name\t: ")
	m.debian = strings.Trim(line("/etc/os-release", "PRETTY_NAME="), `"`)
	m.load = strings.Join(strings.Fields(line("/proc/loadavg", ""))[:3], " ")
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, err
	}
	m.kernel = unix.ByteSliceToString(name.Release[:])
	for to, command := range map[*string]string{&m.networkManager: "NetworkManager", &m.curl: "curl"} {
		out, err := exec.CommandContext(ctx, command, "--version").Output()
		if err != nil {
			return nil, fmt.Errorf("cannot ask %s for its version: %w", command, err)
		}
		*to = strings.TrimPrefix(string(bytes.TrimSpace(out)), "curl ")
		*to, _, _ = strings.Cut(*to, " ")
	}
	info, err := os.Stat(binary)
	if err != nil {
		return nil, err
	}
	m.size = info.Size()
	file, err := elf.Open(binary)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m.static, m.stripped = true, file.Section(".symtab") == nil
	for _, p := range file.Progs {
		m.static = m.static && p.Type != elf.PT_INTERP
	}
	return m, nil
}

// line is the rest of the first line of a file with this prefix.
func line(path, prefix string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, prefix); found {
			return strings.TrimSpace(rest)
		}
	}
	return "unknown"
}

// table is the description.
func (m *machine) table() *table {
	t := &table{title: "The machine"}
	t.add("what", "which")
	t.add("processor", fmt.Sprintf("%s, %d cores", m.cpu, runtime.NumCPU()))
	t.add("kernel", m.kernel)
	t.add("system", m.debian)
	t.add("NetworkManager", m.networkManager)
	t.add("cloud-init", m.cloudInit)
	t.add("curl", m.curl)
	t.add("Go", runtime.Version())
	t.add("load before the run", m.load)
	t.add("date", m.date.Format(time.DateOnly))
	return t
}
