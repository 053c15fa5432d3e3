package systemd

// Deadlock is the shortest order in which cloud-init's network stage comes
// before NetworkManager at boot, from the one to the other: then the stage can
// never have a network. It is nil where there is none.
func (u *Units) Deadlock() []string {
	nm := u.unit(networkManager)
	if nm == nil {
		return nil
	}
	var shortest []string
	for _, stage := range u.NetworkStages() {
		if p := u.graph.path(stage, nm.id, u.boot); p != nil && (shortest == nil || len(p) < len(shortest)) {
			shortest = p
		}
	}
	return shortest
}

// Masked says which file masks a unit; empty if none does.
func (u *Units) Masked(unit string) (file string) {
	if f := u.graph.index.get(unit); f != nil && f.masked {
		return f.path
	}
	return ""
}
