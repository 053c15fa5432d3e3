package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// ask makes the survey, on both ports at once.
func (m *machine) ask(ctx context.Context) (found survey) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if l, there := cloudstack.DefaultNetwork(m.view); there && m.conf.Password {
			found.passwords = m.world.Passwords(ctx, l)
		}
	}()
	found.routers = m.world.Routers(ctx, m.view, cloudstack.Options{UUID: m.firmware.InstanceUUID(), AnyInstance: !m.conf.CheckID})
	<-done
	return found
}

// metadata says which virtual router would be taken, and what each candidate answers.
func (m *machine) metadata() Check {
	if m.other != "" && len(m.view.Leases) == 0 {
		return info("not asked: " + m.other + ", whose lease cloud-init uses")
	}
	found := m.survey().routers
	answers := shown(found, func(f cloudstack.Finding) string { return "instance " + f.ID })
	taken := slices.IndexFunc(found, func(f cloudstack.Finding) bool { return f.Taken })
	if taken >= 0 {
		return m.taken(found[taken]).with(answers...)
	}
	if m.elsewhere() != "" {
		return m.spared("metadata", answers)
	}
	c := problem("nobody has metadata for this VM:", "see in CloudStack that the network's virtual router runs, and that no firewall is between it and the VM")
	switch {
	case len(found) == 0:
		c = problem("the lease names nobody to ask: no DHCP server, no router, no DNS server", "use DHCP on the VM's default network, or add the virtual router's address to the profile as the gateway")
	case slices.ContainsFunc(found, func(f cloudstack.Finding) bool { return errors.Is(f.Err, cloudstack.ErrOtherVM) }):
		c = problem("the virtual router has another VM's data, which is refused: the VM has an address that CloudStack has given to that one",
			"let the VM have its address by DHCP, as CloudStack shows it (check-instance-id=no in /etc/nm-cloud-seed.conf takes the data all the same)")
	case slices.ContainsFunc(found, func(f cloudstack.Finding) bool { return cloudstack.NoData(f.Err) }):
		c.Fix = "it is there but has no data of this VM's: stop and start the VM in CloudStack, or restart its network with clean-up"
	}
	return c.with(answers...)
}

func (m *machine) taken(f cloudstack.Finding) Check {
	text := fmt.Sprintf("%s (%s on %s) would be taken, with instance %s", f.Server, f.Role, f.Device, f.ID)
	switch uuid := m.firmware.InstanceUUID(); {
	case uuid == "" && m.firmware.CloudStack() && !m.world.Root:
		return ok(text + " (only root can tell whether that is this machine)")
	case uuid == "":
		return ok(text)
	case !strings.EqualFold(uuid, f.ID):
		return warning(text+", and this machine is "+uuid+": taken all the same, as check-instance-id=no says", "let the VM have its address by DHCP, as CloudStack shows it")
	}
	return ok(text + ", which is this machine")
}

// passwords looks for the password server, without asking it for a password.
func (m *machine) passwords() Check {
	if !m.conf.Password {
		return info("not looked for, as password=no says")
	}
	if m.other != "" && len(m.view.Leases) == 0 {
		return info("not asked: " + m.other)
	}
	found := m.survey().passwords
	answers := shown(found, func(cloudstack.Finding) string { return "a password server" })
	if i := slices.IndexFunc(found, func(f cloudstack.Finding) bool { return f.Taken }); i >= 0 {
		return ok(found[i].Server.String() + " is a password server (it was not asked for a password)").with(answers...)
	}
	if m.elsewhere() != "" {
		return m.spared("password server", answers)
	}
	c := warning("there is no password server: a password that is reset in CloudStack does not come to this VM", "see that it runs on the network's virtual router (port 8080), or set password=no in /etc/nm-cloud-seed.conf")
	return c.with(answers...)
}

// shown are findings in a line each.
func shown(found []cloudstack.Finding, good func(cloudstack.Finding) string) (lines []string) {
	for _, f := range found {
		text := ""
		switch {
		case f.Known():
			text = "the same address as above"
		case f.Err != nil:
			text = f.Err.Error()
		default:
			text = good(f)
		}
		lines = append(lines, fmt.Sprintf("%s: %s, after %s", f.Where(), text, millis(max(1, f.Took.Milliseconds()))))
	}
	return lines
}

// routerHas is the instance that the virtual router has now, as far as it was asked.
func (m *machine) routerHas() string {
	if m.viewErr != nil || len(m.view.Leases) == 0 {
		return ""
	}
	for _, f := range m.survey().routers {
		if f.Taken {
			return f.ID
		}
	}
	return ""
}

// fromLastBoot says whether the seed is from the copy of the last boot.
func (m *machine) fromLastBoot() bool {
	return m.state.Instance != nil && m.state.Instance.Source == daemon.LastBoot
}
