package doctor

import (
	"path"
	"slices"
	"strings"
)

// nmValue is one of a key's values in NetworkManager's configuration.
type nmValue struct{ text, file string }

// nmConf is NetworkManager.conf(5), by "[section]key". Later files override
// earlier ones, but "+=" and "-=" change the list; those in /etc come last.
func (i *image) nmConf() map[string][]nmValue {
	var before, after []string
	for _, f := range i.layered("*.conf", "usr/lib/NetworkManager/conf.d", "run/NetworkManager/conf.d", "etc/NetworkManager/conf.d") {
		if strings.HasPrefix(f, "etc/") {
			after = append(after, f)
		} else if !i.netplanHides(f) {
			before = append(before, f)
		}
	}
	conf := make(map[string][]nmValue)
	for _, f := range slices.Concat(before, []string{"etc/NetworkManager/NetworkManager.conf"}, after) {
		section := ""
		for line := range strings.Lines(i.read(f)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				section = line
			}
			key, text, _ := strings.Cut(line, "=")
			key = section + strings.TrimSpace(key)
			var values []nmValue
			for value := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(",; \t", r) }) {
				values = append(values, nmValue{value, f})
			}
			if added, is := strings.CutSuffix(key, "+"); is {
				conf[added] = append(conf[added], values...)
			} else if removed, is := strings.CutSuffix(key, "-"); is {
				conf[removed] = slices.DeleteFunc(conf[removed], func(v nmValue) bool {
					return slices.ContainsFunc(values, func(r nmValue) bool { return r.text == v.text })
				})
			} else {
				conf[key] = values
			}
		}
	}
	return conf
}

// netplanHides says whether netplan makes a file of the same name in /run, as it
// does for the one by which Ubuntu has NetworkManager leave wired devices alone.
func (i *image) netplanHides(file string) bool {
	if path.Base(file) != "10-globally-managed-devices.conf" || !i.available(netplan) {
		return false
	}
	r, _ := i.netplanRenderer()
	return r == "NetworkManager"
}
