package nm

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	gnm "github.com/Wifx/gonetworkmanager/v2"
	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

// outcome is a plan of one device in short.
type outcome struct {
	State    lease.State
	Detail   string        // a part of it
	Lease    string        // its address, "-" for none
	Ours     bool          // the lease is temporary
	Activate bool          //
	Again    bool          //
	Wake     time.Duration // from now; 0: never
}

func TestDecide(t *testing.T) {
	const none = "-"
	eth := func(state uint32, h ...has) part { return wired("eth0", eth0, state, h...) }
	static := address("10.9.9.9", properties{
		"Gateway": dbus.MakeVariant("10.9.9.1"), "Domains": dbus.MakeVariant([]string{"a.example"}),
		"NameserverData": dbus.MakeVariant([]map[string]dbus.Variant{strs("address", "10.9.9.1")}),
	})
	activate := outcome{lease.Waiting, "activating", none, false, true, false, 0}
	asking := func(again bool, wake time.Duration) outcome {
		return outcome{lease.Waiting, "asking for a lease", none, false, false, again, wake}
	}
	waiting := func(detail string, wake time.Duration) outcome {
		return outcome{lease.Waiting, detail, none, false, false, false, wake}
	}
	unusable := func(detail string) outcome { return outcome{lease.Unusable, detail, none, false, false, false, 0} }
	leased := func(text string, ours bool) outcome {
		return outcome{lease.Leased, text, text, ours, false, false, 0}
	}
	for name, test := range map[string]struct {
		parts []part
		want  outcome
	}{
		"unmanaged":                   {[]part{eth(10)}, unusable("not managed")},
		"unmanaged during startup":    {[]part{eth(10), startup}, waiting("starting", 0)},
		"unknown state":               {[]part{eth(0)}, unusable("not managed")},
		"no carrier":                  {[]part{eth(20)}, unusable("no carrier")},
		"no carrier during startup":   {[]part{eth(20), startup}, waiting("carrier", 0)},
		"idle":                        {[]part{eth(30)}, activate},
		"idle during startup":         {[]part{eth(30), startup}, activate},
		"idle veth":                   {[]part{eth(30, sets("DeviceType", uint32(20)))}, activate},
		"with profiles":               {[]part{eth(30, profiles)}, waiting("to connect it", settle)},
		"with profiles, later":        {[]part{eth(30, profiles, since(settle-time.Millisecond))}, waiting("to connect it", time.Millisecond)},
		"starting, with profiles":     {[]part{eth(30, profiles, since(settle)), startup}, waiting("to connect it", settleStartup-settle)},
		"starting, at last":           {[]part{eth(30, profiles, since(settleStartup)), startup}, activate},
		"with profiles, at last":      {[]part{eth(30, profiles, since(settle))}, activate},
		"preparing, theirs":           {[]part{eth(40, theirs, since(time.Hour))}, waiting(`"Wired 1" is being activated`, 0)},
		"needs a secret":              {[]part{eth(60, theirs)}, waiting("being activated", 0)},
		"theirs without an answer":    {[]part{eth(70, theirs, since(time.Hour))}, waiting("being activated", 0)},
		"failed":                      {[]part{eth(120, theirs)}, waiting("failed", 0)},
		"deactivating":                {[]part{eth(110, theirs, dhcp, address("10.1.1.2", nil))}, waiting("being deactivated", 0)},
		"a lease of theirs":           {[]part{eth(100, theirs, dhcp, address("10.1.1.2", nil))}, leased("10.1.1.2/24", false)},
		"a lease before activated":    {[]part{eth(70, theirs, dhcp, address("10.1.1.2", nil))}, leased("10.1.1.2/24", false)},
		"a lease of ours":             {[]part{eth(80, ours, dhcp, address("10.1.1.2", nil))}, leased("10.1.1.2/24", true)},
		"options, no address yet":     {[]part{eth(70, theirs, dhcp)}, waiting("being activated", 0)},
		"options, another address":    {[]part{eth(100, theirs, dhcp, address("10.1.1.3", nil))}, waiting("without an IPv4", 0)},
		"ours, no address yet":        {[]part{eth(70, ours, dhcp, since(time.Minute))}, asking(false, 0)},
		"static":                      {[]part{eth(100, theirs, static)}, leased("10.9.9.9/24", false)},
		"static, not yet":             {[]part{eth(80, theirs, static)}, waiting("being activated", 0)},
		"activated without IPv4":      {[]part{eth(100, theirs)}, waiting("without an IPv4", 0)},
		"port":                        {[]part{eth(100, theirs, isPort("Controller"))}, unusable("a port")},
		"port before 1.44":            {[]part{eth(100, theirs, isPort("Master"))}, unusable("a port")},
		"bridge":                      {[]part{eth(100, kind(gnm.NmDeviceTypeBridge), theirs, dhcp, address("10.1.1.2", nil))}, leased("10.1.1.2/24", false)},
		"bond with a static address":  {[]part{eth(100, kind(gnm.NmDeviceTypeBond), theirs, static)}, leased("10.9.9.9/24", false)},
		"idle bridge":                 {[]part{eth(30, kind(gnm.NmDeviceTypeBridge))}, unusable("not connected")},
		"idle bond":                   {[]part{eth(30, kind(gnm.NmDeviceTypeBond))}, unusable("not connected")},
		"idle team":                   {[]part{eth(30, kind(gnm.NmDeviceTypeTeam))}, unusable("not connected")},
		"idle vlan":                   {[]part{eth(30, kind(gnm.NmDeviceTypeVlan))}, unusable("not connected")},
		"ours":                        {[]part{eth(70, ours)}, asking(false, time.Second)},
		"ours, later":                 {[]part{eth(70, ours, since(900*time.Millisecond))}, asking(false, 100*time.Millisecond)},
		"ours, unanswered":            {[]part{eth(70, ours, since(time.Second))}, asking(true, 0)},
		"ours, and theirs to come":    {[]part{eth(70, ours, profiles, since(time.Hour))}, asking(false, 0)},
		"ours, asked once":            {[]part{eth(70, ours, asked(1), since(time.Second))}, asking(false, time.Second)},
		"ours, asked once, later":     {[]part{eth(70, ours, asked(1), since(2*time.Second))}, asking(true, 0)},
		"ours, asked often enough":    {[]part{eth(70, ours, asked(len(reask)), since(time.Hour))}, asking(false, 0)},
		"ours, on its way":            {[]part{eth(50, ours, since(time.Hour))}, asking(false, 0)},
		"ours, being taken down":      {[]part{eth(70, ours, since(time.Hour), func(w *world, d dbus.ObjectPath) { w.mine[d].again = true })}, asking(false, 0)},
		"ours, settled":               {[]part{eth(70, ours, since(time.Hour)), settled}, asking(false, 0)},
		"ours, not in place yet":      {[]part{eth(30, ours, sets("ActiveConnection", dbus.ObjectPath("/")))}, waiting("waiting for NetworkManager", 0)},
		"ours, on its way down":       {[]part{eth(30, ours, profiles, since(time.Hour))}, waiting("waiting for NetworkManager", 0)},
		"taken over":                  {[]part{eth(70, ours, retake, since(time.Hour))}, waiting(`"Wired 1" is being`, 0)},
		"taken over, with a lease":    {[]part{eth(100, ours, retake, dhcp, address("10.1.1.2", nil))}, leased("10.1.1.2/24", false)},
		"its connection has gone":     {[]part{eth(100, dhcp, address("10.1.1.2", nil))}, waiting("its connection is changing", 0)},
		"leftover, being removed":     {[]part{eth(100, leftover, removing, dhcp, address("10.1.1.2", nil))}, waiting("left behind", 0)},
		"leftover that stays":         {[]part{eth(100, leftover, dhcp, address("10.1.1.2", nil))}, leased("10.1.1.2/24", false)},
		"leftover that stays, asking": {[]part{eth(70, leftover, since(time.Hour))}, waiting("being activated", 0)},
		"refused":                     {[]part{eth(30, refusedUntil(2*time.Second))}, outcome{lease.Waiting, "no temporary connection yet: not you", none, false, false, false, 2 * time.Second}},
		"refused, then again":         {[]part{eth(30, refusedUntil(0))}, activate},
		"refused, then theirs":        {[]part{eth(70, theirs, refusedUntil(time.Second))}, waiting("being activated", 0)},
		"patient":                     {[]part{eth(30), patient}, activate},
		"patient, with profiles":      {[]part{eth(30, profiles, since(time.Hour)), patient}, waiting("left to its own profiles", 0)},
		"settled":                     {[]part{eth(30), settled}, unusable("not connected")},
		"settled, with profiles":      {[]part{eth(30, profiles), settled}, unusable("not connected")},
		"settled, refused":            {[]part{eth(30, refusedUntil(0)), settled}, unusable("not connected")},
		"settled, with a lease":       {[]part{eth(100, ours, dhcp, address("10.1.1.2", nil)), settled}, leased("10.1.1.2/24", true)},
	} {
		t.Run(name, func(t *testing.T) {
			p := world1(test.parts...).decide(now)
			if len(p.view.Devices) != 1 || len(p.view.Leases) > 1 || !p.view.Running {
				t.Fatalf("got %+v, want one device, at most one lease, running", p)
			}
			got := outcome{State: p.view.Devices[0].State, Detail: p.view.Devices[0].Detail, Lease: none, Activate: len(p.activate) == 1, Again: len(p.again) == 1}
			if strings.Contains(got.Detail, test.want.Detail) {
				got.Detail = test.want.Detail
			}
			for _, l := range p.view.Leases {
				got.Lease, got.Ours = l.Address.String(), l.Temporary
			}
			if !p.wake.IsZero() {
				got.Wake = p.wake.Sub(now)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, path := range append(p.activate, p.again...) {
				if path != eth0 {
					t.Errorf("got an action on %s, want it on %s", path, eth0)
				}
			}
		})
	}
}

func TestDecideStatic(t *testing.T) {
	p := world1(wired("eth0", eth0, 100, theirs, address("10.9.9.9", properties{
		"Gateway": dbus.MakeVariant("10.9.9.1"), "Domains": dbus.MakeVariant([]string{"a.example"}),
		"NameserverData": dbus.MakeVariant([]map[string]dbus.Variant{strs("address", "10.9.9.3")}),
	}))).decide(now)
	want := []lease.Lease{{
		Device: "eth0", Index: 1, Address: netip.MustParsePrefix("10.9.9.9/24"),
		Routers: addrs("10.9.9.1"), DNS: addrs("10.9.9.3"), Domain: "a.example",
	}}
	if diff := cmp.Diff(want, p.view.Leases, same); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestDecideSeveral: leases by interface index, devices by name, the soonest wake.
func TestDecideSeveral(t *testing.T) {
	w := world1(
		wired("eth2", eth0, 100, theirs, dhcp, address("10.1.1.2", nil)),
		wired("eth0", eth1, 100, theirs, dhcp, address("10.1.1.2", nil)),
		wired("eth1", eth1+"1", 70, ours, since(300*time.Millisecond)),
		wired("eth3", eth1+"2", 30, profiles),
		wired("wlan0", eth1+"3", 30, kind(gnm.NmDeviceTypeWifi)),
		wired("wlan1", eth1+"4", 100, kind(gnm.NmDeviceTypeWifi), theirs, dhcp, address("10.1.1.2", nil)),
		wired("docker0", eth1+"5", 100, kind(gnm.NmDeviceTypeDummy), theirs, dhcp, address("10.1.1.2", nil)),
	)
	p := w.decide(now)
	var leases, devices []string
	for _, l := range p.view.Leases {
		leases = append(leases, l.Device)
	}
	for _, d := range p.view.Devices {
		devices = append(devices, d.Name)
	}
	if diff := cmp.Diff([]string{"eth0", "eth2"}, leases); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"eth0", "eth1", "eth2", "eth3"}, devices); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if wake := p.wake.Sub(now); wake != 700*time.Millisecond || len(p.activate)+len(p.again) != 0 {
		t.Errorf("got a wake-up after %s, want it after 700ms and no action: %+v", wake, p)
	}
	if diff := cmp.Diff(p, w.decide(now), same, cmp.AllowUnexported(plan{})); diff != "" {
		t.Errorf("got another plan of the same world, want the same: %s", diff)
	}
}

// TestDecideMany: a host of containers has many devices; its own are the oldest.
func TestDecideMany(t *testing.T) {
	const devices = "/org/freedesktop/NetworkManager/Devices/"
	w := world1(wired("eth0", devices+"2", 30))
	for i := range 1000 {
		wired(fmt.Sprintf("veth%d", i), dbus.ObjectPath(fmt.Sprintf("%s%d", devices, i+10)), 30)(w)
		wired(fmt.Sprintf("wlan%d", i), dbus.ObjectPath(fmt.Sprintf("%s%d", devices, i+5000)), 30, kind(gnm.NmDeviceTypeWifi))(w)
	}
	p := w.decide(now)
	if len(p.view.Devices) != maxDevices || len(p.activate) != maxDevices || p.activate[0] != devices+"2" || p.activate[1] != devices+"10" {
		t.Errorf("%d devices, activates %d: %v", len(p.view.Devices), len(p.activate), p.activate[:min(2, len(p.activate))])
	}
}

// TestDecideHostile: properties of other types than NetworkManager's.
func TestDecideHostile(t *testing.T) {
	values := []any{
		"x", uint32(30), int32(-1), true, []string{"/"}, dbus.ObjectPath("/"), eth0, []any{}, strs("a", "b"),
		[]dbus.ObjectPath{eth0}, dbus.MakeVariant("x"), []map[string]dbus.Variant{{}}, strings.Repeat("x", 1<<20),
	}
	names := []string{"State", "Interface", "DeviceType", "ActiveConnection", "Dhcp4Config", "Ip4Config", "AvailableConnections"}
	for _, value := range values {
		for _, name := range names {
			w := world1(wired("eth0", eth0, 100, theirs, dhcp, address("10.1.1.2", nil), sets(name, value)))
			w.decide(now)
		}
		w := world1(wired("eth0", eth0, 100, theirs, dhcp, address("10.1.1.2", nil)))
		w.objects.tree["/D"+eth0][gnm.DHCP4ConfigInterface]["Options"] = dbus.MakeVariant(value)
		if p := w.decide(now); len(p.view.Leases) == 1 && p.view.Leases[0].Server.IsValid() {
			t.Errorf("a DHCP lease from %T", value)
		}
		w = world1(wired("eth0", eth0, 100, theirs, dhcp, address("10.1.1.2", properties{"AddressData": dbus.MakeVariant(value)})))
		if p := w.decide(now); len(p.view.Leases) != 0 {
			t.Errorf("an address from %T", value)
		}
	}
	for _, value := range []any{"30", int32(30), uint64(30), dbus.ObjectPath("/")} {
		p := world1(wired("eth0", eth0, 0, sets("State", value))).decide(now)
		if len(p.activate) != 0 || p.view.Devices[0].State != lease.Unusable {
			t.Errorf("State %T: %+v", value, p)
		}
	}
}

func TestViewNamesUnmanagedDevicesOnlyIfThereIsNoOther(t *testing.T) {
	t.Parallel()
	const eth1 = dbus.ObjectPath("/org/freedesktop/NetworkManager/Devices/3")
	unmanaged := wired("eth0", eth0, 10)
	for name, test := range map[string]struct {
		parts []part
		want  []string
	}{
		"no device":            {nil, nil},
		"all":                  {[]part{wired("eth1", eth1, 10), unmanaged}, []string{"eth0", "eth1"}},
		"during startup":       {[]part{unmanaged, startup}, nil},
		"another is managed":   {[]part{unmanaged, wired("eth1", eth1, 20)}, nil},
		"a bridge is managed":  {[]part{unmanaged, wired("br0", eth1, 100, kind(gnm.NmDeviceTypeBridge))}, []string{"eth0"}},
		"only a bridge is not": {[]part{wired("br0", eth1, 10, kind(gnm.NmDeviceTypeBridge))}, nil},
	} {
		if diff := cmp.Diff(test.want, world1(test.parts...).decide(now).view.Unmanaged); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
