package systemd

import (
	"maps"
	"slices"
)

// sessionClass is for pam_systemd(8), in the process that runs the network stage
// and in all that it starts. Usually a session waits for
// systemd-user-sessions.service, which waits for the stage: su(1) in a bootcmd
// would stall until logind gives up, for ordinary users and, since systemd 256,
// for root. This class does not wait. Older versions refuse it at once, and su
// goes on without a session: as with the stock order, where there is no logind
// yet.
const sessionClass = "XDG_SESSION_CLASS=user-early"

const logind = "systemd-logind.service"

// fallbackLine is for the network stage's unit: see Fallback in internal/daemon.
const fallbackLine = "ExecStartPre=-/usr/bin/nm-cloud-seed fallback\n"

// fallback is all that the network stage needs where the order is right already.
func (u *Units) fallback() (all []File) {
	for _, id := range u.NetworkStages() {
		all = append(all, settingsOf(id, fallbackLine))
	}
	return all
}

func settingsOf(id, lines string) File {
	return File{Name: id + ".d/" + dropinName, Text: "# Made by nm-cloud-seed-generator(8).\n[Service]\n" + lines}
}

// settings are what cloud-init's network stage needs beside NetworkManager, in
// whichever order: it begins with the fallback, ends with the host name that it has set (see the command),
// and its process has the class. Since cloud-init 24.3, one process does all
// stages: there the class has to be a good one, as later stages' sessions are to
// be had.
func (u *Units) settings() []File {
	lines := make(map[string]string)
	processes := u.NetworkStages()
	for _, id := range processes {
		lines[id] = fallbackLine + "ExecStartPost=-/usr/bin/nm-cloud-seed await-hostname\n"
	}
	if main := u.unit("cloud-init-main.service"); main != nil {
		processes = nil
		if u.knowsEarly() {
			processes = []string{main.id}
		}
	}
	for _, id := range processes {
		lines[id] += "Environment=" + sessionClass + "\n"
	}
	var all []File
	for _, id := range slices.Sorted(maps.Keys(lines)) {
		all = append(all, settingsOf(id, lines[id]))
	}
	return all
}

// noSearch leaves the search for the virtual router to us. Since cloud-init 25.2,
// its local stage, which comes before us, has a search and a DHCP client of its own.
func (u *Units) noSearch() []File {
	n := u.unit(localStage)
	if n == nil {
		return nil
	}
	return []File{settingsOf(n.id, "ExecStartPre=-/usr/bin/nm-cloud-seed no-search\n")}
}

// knowsEarly says whether systemd knows the class, by a unit that is as old.
func (u *Units) knowsEarly() bool {
	return slices.ContainsFunc(u.dirs, func(d *dir) bool { return d.files["capsule@.service"] != nil })
}
