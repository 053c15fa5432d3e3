package daemon

import "github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"

// Concerned says why the virtual router is to be asked again when NetworkManager
// has got a lease, empty if it is not: then the run or the wait that goes on
// follows NetworkManager itself, or nothing has changed. A refresh that goes on may be
// too late for it.
func Concerned(root string, l lease.Lease) (reason string) {
	s, err := readState(root)
	if err != nil || s.Ended == nil || s.Healing != nil {
		return ""
	}
	return s.concerned(l, Wants(root))
}

// concerned decides. wanting is that this boot has no data from the virtual router.
func (s *State) concerned(l lease.Lease, wanting bool) string {
	i := s.Instance
	switch {
	case s.Phase == Idle:
		return ""
	case wanting:
		return "this boot has no data from the virtual router, and " + l.Device + " has a lease"
	case i == nil:
		return ""
	case l.Device == i.Device && l.Server.IsValid() && l.Server != i.DHCP:
		return "the lease of " + l.Device + " is from another DHCP server: " + l.Server.String()
	case l.Device != i.Device && l.Default() && !i.Default:
		return l.Device + " is in the VM's default network, and the data is from another one"
	}
	return ""
}
