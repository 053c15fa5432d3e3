package credentials

import (
	"io/fs"
	"path"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/rootfs"
)

const (
	sshdConfig    = "etc/ssh/sshd_config"
	sshdConfigDir = sshdConfig + ".d"
)

// Elsewhere is the file of sshd's configuration that makes it, and cloud-init,
// look for keys elsewhere first than where [Remove] does, or empty.
func Elsewhere(fsys fs.FS) string {
	names := []string{sshdConfig}
	entries, _ := rootfs.List(fsys, sshdConfigDir, 1000)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".conf") {
			names = append(names, path.Join(sshdConfigDir, e.Name()))
		}
	}
	for _, name := range names {
		text, err := rootfs.Read(fsys, name, 1<<20)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if isElsewhere(line) {
				return "/" + name
			}
		}
	}
	return ""
}

// isElsewhere reads a line as sshd_config(5) has it: keywords in any case, and
// either blanks or one = between them and their arguments.
func isElsewhere(line string) bool {
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n\f=\"", r) })
	if len(words) < 2 || !strings.EqualFold(words[0], "AuthorizedKeysFile") {
		return false
	}
	return strings.TrimPrefix(words[1], "%h/") != AuthorizedKeys
}
