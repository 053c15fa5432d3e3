package main

import (
	"errors"
	"regexp"
	"slices"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// What is expected of the boots, as lists of verdicts.

var (
	seeded = slices.Concat(works, []check{phase(daemon.Ready), applied, defaultUser, passwordUsable, firstHostKeys, {"not resident", gone}, {"compatibility lease", cleared}, {"plot", drawn}})
	again  = append(slices.Clone(seeded), same)

	same = check{"same machine", sameMachine}
	// preset: a unit that the boot itself has enabled found all, too.
	preset = check{"preset", func(r *report) error {
		if !r.has("probe/preset") {
			return errors.New("the unit was not enabled")
		}
		return r.wants("probe/preset", "")
	}}
	// named: the generator says in the journal who is not held. A container has
	// no kernel's ring buffer, through which that gets there.
	named = check{"generator's word", func(r *report) error {
		if len(r.said(notHeld)) == 0 {
			return errors.New("the journal does not say which units are not held")
		}
		return nil
	}}
	stays = check{"temporary connection", temporaryStays}
)

// bug is cloud-init without a network: what it finds is not the instance, and
// nothing else complains.
var bug = slices.Concat(healthy, not(instanceSeen...), not(check{"probes", probes}), []check{
	{"the bug", func(r *report) error {
		if !noRouter.MatchString(r.cloudInitLog()) {
			return errors.New("cloud-init does not say that it found no virtual router")
		}
		return r.wants("datasource", "DataSourceNone: DataSourceNone")
	}},
})

var notHeld = regexp.MustCompile(`nm-cloud-seed-generator(\[\d+\])?: not held until cloud-init's network stage is done: .*\bNetworkManager\.service\b`)

var noRouter = regexp.MustCompile(`No virtual router found!|NoDHCPLeaseError`)

// worksAlone is cloud-init without our help. Its local stage has no domain, and
// its network stage asks NetworkManager, which has one if it has a lease by then.
var worksAlone = slices.DeleteFunc(slices.Clone(works), func(c check) bool { return c.name == "FQDN" })

// goesOn is a boot without an instance that goes on after our deadline, and says why.
var goesOn = slices.Concat(
	[]check{{"ends", ends}, {"ordering", noCycle}, {"shutdown", shutdown}},
	not(instanceSeen...),
	[]check{phase(daemon.Failed), {"word of it", saysWhy}, {"deadline", noOwnSearch}, endsQuietly},
)

var inert = []check{{"nothing generated", nothingGenerated}, {"as without the package", asWithout}}
