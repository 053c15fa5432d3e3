package doctor

import (
	"slices"
	"strings"
)

// commandLine looks where GRUB and systemd-boot have the kernel's command line
// for words that switch cloud-init or nm-cloud-seed off.
func (i *image) commandLine() Check {
	var found []string
	for _, file := range slices.Concat(
		[]string{"boot/grub/grub.cfg", "boot/grub2/grub.cfg", "etc/default/grub"}, i.list("etc/default/grub.d", "*.cfg"),
		[]string{"etc/kernel/cmdline"}, i.list("boot/loader/entries", "*.conf"),
	) {
		words := kernelWords(i.read(file))
		for _, word := range []string{"cloud-init=disabled", "nm-cloud-seed=off"} {
			if slices.Contains(words, word) {
				found = append(found, word+" in /"+file)
			}
		}
	}
	if len(found) == 0 {
		return ok("")
	}
	fix := "take it out there"
	if i.program("update-grub") {
		fix += ", then " + i.chroot("update-grub")
	}
	return problem("the kernel command line switches off what is needed:", fix).with(found...)
}

// kernelWords are the words of all lines but comments, without quotes, and
// without the variable that a word may begin, as in GRUB_CMDLINE_LINUX="quiet".
func kernelWords(text string) []string {
	var words []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for word := range strings.FieldsFuncSeq(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n\"'", r) }) {
			if variable, value, _ := strings.Cut(word, "="); strings.HasPrefix(variable, "GRUB_") {
				word = value
			}
			words = append(words, word)
		}
	}
	return words
}
