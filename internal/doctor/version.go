package doctor

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
)

// version is cloud-init's; of an unknown one major is 0.
type version struct {
	major, minor int
	text         string
}

// oldest is the oldest cloud-init that was seen to read our seed.
var oldest = version{22, 4, "22.4"}

func (v version) before(major, minor int) bool {
	return cmp.Or(cmp.Compare(v.major, major), cmp.Compare(v.minor, minor)) < 0
}

// Upstream's version and the distribution's, in version.py, or since 26 in a
// file that the build makes. One that begins with "@" was never filled in.
var (
	upstream = regexp.MustCompile(`(?m)^\s*(?:__VERSION__|UPSTREAM_VERSION)\s*=\s*"((\d+)\.(\d+)[^"]*)"`)
	packaged = regexp.MustCompile(`(?m)^\s*(?:_PACKAGED_VERSION|DOWNSTREAM_VERSION)\s*=\s*"(\d[^"]*)"`)
)

// readVersion finds the version without running Python: it is the image's.
func (i *image) readVersion() version {
	var text strings.Builder
	for _, python := range i.list("usr/lib", "python3*") {
		for _, packages := range i.list(python, "*-packages") {
			text.WriteString(i.read(packages+"/cloudinit/version.py") + "\n" + i.read(packages+"/cloudinit/meson_versions.py") + "\n")
		}
	}
	m := upstream.FindStringSubmatch(text.String())
	if m == nil {
		return version{}
	}
	v := version{text: m[1]}
	v.major, _ = strconv.Atoi(m[2])
	v.minor, _ = strconv.Atoi(m[3])
	if p := packaged.FindStringSubmatch(text.String()); p != nil {
		v.text = p[1]
	}
	return v
}
