package credentials

// Decision is what to do with a password that is served.
type Decision int

// The decisions. The zero one changes nothing in the VM.
const (
	LeaveUnknown   Decision = iota // it may have been applied, and there is no telling
	LeaveChanged                   // it was handed over, and the user has another password now
	HandOver                       // it has not been applied, and no other was set since it was handed over
	AppliedBefore                  // on record as applied
	AppliedUnnoted                 // applied, which is not on record yet
	LeaveOtherUser                 // it was handed over for another user, see HandedOverFor
)

// Decision decides about a password that is served, for a user. Whatever is on record,
// a password that the user may have set since it was handed over is never overwritten.
// first reports whether no other one can have been applied before. With an error, the
// decision is LeaveUnknown.
func (s Store) Decision(instance, password, user string, shadow Shadow) (d Decision, first bool, err error) {
	r, found, err := s.password(instance)
	switch {
	case err != nil:
		return LeaveUnknown, false, err
	case !found:
		return HandOver, true, nil
	}
	first = r.first(user, shadow)
	if r.Given != nil {
		same, err := r.Given.Hash.matches(instance, password)
		if err != nil {
			return LeaveUnknown, first, err
		}
		if same {
			return r.Given.decide(user, shadow), first, nil
		}
	}
	if r.Hash != nil {
		same, err := r.Hash.matches(instance, password)
		if err != nil {
			return LeaveUnknown, first, err
		}
		if same {
			return AppliedBefore, first, nil
		}
	}
	return HandOver, first, nil
}

// decide decides about the password that was handed over, and is served again. Where the
// default user is another one now, it is handed over again only if nobody has set a
// password of either user's since.
func (g *handedOver) decide(user string, shadow Shadow) Decision {
	switch {
	case shadow.Of(g.User) == "":
		return LeaveUnknown
	case g.applied(user, shadow):
		return AppliedUnnoted
	case g.Before == "":
		return LeaveUnknown
	case g.unchanged(user, shadow):
		return HandOver
	case user != g.User:
		return LeaveOtherUser
	}
	return LeaveChanged
}

// HandedOverFor returns the user for whom the password was handed over whose outcome is
// not on record. It is empty if there is none.
func (s Store) HandedOverFor(instance string) string {
	if r, found, err := s.password(instance); found && err == nil && r.Given != nil {
		return r.Given.User
	}
	return ""
}

// first reports whether no password can have been applied: what is on record was handed
// over as the first one, and has changed nothing.
func (r *passwordRecord) first(user string, shadow Shadow) bool {
	return r.Given != nil && r.Given.First && r.Given.unchanged(user, shadow)
}

// unchanged reports whether the field is known to be as it was before the handover. A
// default user who was not known then must have no password.
func (g *handedOver) unchanged(user string, shadow Shadow) bool {
	return g.Before != "" && shadow.Of(g.User) == g.Before && (user == g.User || shadow.Of(user) == noPassword)
}

// RecordHandover remembers a password that is about to be handed to cloud-init, for a
// user. crypt is what cloud-init gets. What was applied last stays on record, and so
// does the password that was handed over before this one, if it was applied.
func (s Store) RecordHandover(instance, password, user, crypt string, shadow Shadow) error {
	r, found, err := s.password(instance)
	if err != nil {
		return err
	}
	if !found {
		r = passwordRecord{Instance: instance}
	}
	first := !found || r.first(user, shadow)
	r.settle(user, shadow)
	hash, err := newHash(instance, password)
	if err != nil {
		return err
	}
	r.Given = &handedOver{Hash: *hash, User: user, Before: shadow.Of(user), After: FingerprintOf(crypt), First: first}
	return s.write(r)
}

// RecordUnknown remembers a password of which there is no telling whether it was
// applied, in the place of a record that is damaged. Another one is a new one then.
func (s Store) RecordUnknown(instance, password string) error {
	hash, err := newHash(instance, password)
	if err != nil {
		return err
	}
	return s.write(passwordRecord{Instance: instance, Given: &handedOver{Hash: *hash}, Damaged: true})
}

// RecordApplied remembers that the password that was handed over has been applied. It
// is no error if none was.
func (s Store) RecordApplied(instance string) error {
	r, found, err := s.password(instance)
	if !found || r.Given == nil {
		return err
	}
	r.Hash, r.Given, r.Damaged = &r.Given.Hash, nil, false
	return s.write(r)
}

// settle finds out that what was handed over has been applied, if it can.
func (r *passwordRecord) settle(user string, shadow Shadow) {
	if g := r.Given; g != nil && g.applied(user, shadow) {
		r.Hash, r.Given = &g.Hash, nil
	}
}

// applied reports whether cloud-init is known to have set the password: for the user on
// record, or for the default user of now, whom only cloud-init may have known at that boot.
func (g *handedOver) applied(user string, shadow Shadow) bool {
	return g.After != "" && (shadow.Of(g.User) == g.After || shadow.Of(user) == g.After)
}
