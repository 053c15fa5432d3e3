package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

// The seed, without leading slashes; see package seed.
const (
	seedLink    = "var/lib/cloud/seed/cs"
	seedCurrent = "run/nm-cloud-seed/seed"
	seedDir     = "run/nm-cloud-seed/seed.d"
	maxSeed     = 4 << 20 // bytes of meta-data
)

// seed looks at what cloud-init finds, and who else could.
func (m *machine) seed() Check {
	if c := m.ownSeed(); c.State != OK {
		return c
	}
	to, linked := fs.ReadLink(m.fsys, seedLink)
	generation, current := fs.ReadLink(m.fsys, seedCurrent)
	switch {
	case linked != nil || current != nil:
		c := info("none in this boot")
		if m.seeded() {
			c = problem("the service has seeded cloud-init, but nothing is at /"+seedLink, "reboot, and see who removes it if that helps only once")
		}
		return c
	case to != "/"+seedCurrent:
		return problem("/"+seedLink+" leads to "+to+" and not to /"+seedCurrent, "ln -sfn /"+seedCurrent+" /"+seedLink+", and reboot")
	case path.Dir(generation) != path.Base(seedDir):
		return problem("/"+seedCurrent+" leads to "+generation, "rm /"+seedCurrent+", and reboot")
	}
	dir := seedDir + "/" + path.Base(generation)
	if c := m.private(dir); c.State != OK {
		return c
	}
	return m.content(dir)
}

// seeded says whether the service has written a seed in this boot.
func (m *machine) seeded() bool { return m.stateErr == nil && m.state.Instance != nil }

// private says whether others than root can read a generation of the seed.
func (m *machine) private(dir string) Check {
	var open []string
	for _, name := range []string{seedDir, dir, dir + "/meta-data", dir + "/user-data"} {
		info, err := fs.Lstat(m.fsys, name)
		want := fs.FileMode(0o700)
		if path.Dir(name) == dir {
			want = 0o600
		}
		switch {
		case errors.Is(err, fs.ErrPermission):
			return onlyRoot("there, with what is in it for root alone")
		case err != nil:
			return problem("the seed is not complete: "+rootfs.Reason(err)+": /"+name, "reboot")
		case info.Mode().Perm() != want:
			open = append(open, fmt.Sprintf("chmod %o /%s", want, name))
		}
	}
	if len(open) > 0 {
		return problem("others than root may read the seed, which can hold secrets", strings.Join(sorted(open), " && "))
	}
	return ok("")
}

// content says whose seed it is, and of when.
func (m *machine) content(dir string) Check {
	name := dir + "/meta-data"
	var meta struct {
		ID string `json:"instance-id"`
	}
	data, err := rootfs.Read(m.fsys, name, maxSeed)
	if err == nil {
		err = json.Unmarshal(data, &meta)
	}
	info, statErr := fs.Lstat(m.fsys, name)
	if err != nil || statErr != nil || meta.ID == "" {
		return problem("/"+name+" cannot be read", "reboot") // without the error, which may quote it
	}
	text := "instance " + meta.ID + ", written " + m.ago(info.ModTime()) + ", for root alone"
	now := m.routerHas()
	switch {
	case m.seeded() && m.state.Instance.ID != meta.ID:
		return problem(text+", but the service says that it seeded instance "+m.state.Instance.ID, "reboot")
	case now != "" && now != meta.ID:
		return warning(text+"; the virtual router has instance "+now+" now", "reboot")
	}
	return ok(text)
}
