//go:build integration

package api

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	policy "github.com/nm-cloud-seed/nm-cloud-seed/dbus-policy"
	"github.com/nm-cloud-seed/nm-cloud-seed/nm/nmtest"
)

// system is a bus whose policy is that of dbus-daemon's system.conf, and ours.
const system = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>%%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
  </policy>
  <include>%[1]s/org.nmcloudseed1.conf</include>
  <servicedir>%[1]s</servicedir>
</busconfig>
`

func bus(t *testing.T) *nmtest.Daemon {
	t.Helper()
	ours, err := filepath.Abs("../../dbus-policy")
	if err != nil {
		t.Fatal(err)
	}
	d := nmtest.BusWith(t, fmt.Sprintf(system, ours))
	d.Setenv(t)
	return d
}

// world is a server and what it sees.
type world struct {
	*Server
	mu       sync.Mutex
	is       Properties
	fetches  atomic.Int32
	looks    atomic.Int32
	ready    chan struct{}
	stop     func()
	ended    chan error
	answerer func() ([]string, error)
	leaving  atomic.Pointer[func()]
}

// hangLimit is far beyond what anything here takes: it is there to say what hangs.
const hangLimit = 5 * time.Minute

// serve runs a server until the test's end. What it has to know from its first
// moment on, setup tells it.
func serve(t *testing.T, idle time.Duration, setup ...func(*world)) *world {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	ctx, stop := context.WithCancel(t.Context())
	w := &world{is: Properties{State: "ready"}, ready: make(chan struct{}), stop: stop, ended: make(chan error, 1)}
	w.answer(func() ([]string, error) { return []string{"public-keys", "user-data"}, nil })
	w.Server = &Server{Log: log, Idle: idle, Look: w.look, Ready: func() { close(w.ready) },
		Leaving: func() {
			if f := w.leaving.Load(); f != nil {
				(*f)()
			}
		},
		Refresh: func(context.Context) ([]string, error) {
			w.fetches.Add(1)
			w.mu.Lock()
			f := w.answerer
			w.mu.Unlock()
			return f()
		}}
	for _, f := range setup {
		f(w)
	}
	go func() { w.ended <- w.Run(ctx) }()
	select {
	case <-w.ready:
	case err := <-w.ended:
		t.Fatal(err)
	}
	return w
}

func (w *world) look() Properties {
	w.looks.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.is
}

func (w *world) set(p Properties) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.is = p
}

// answer has each fetch from now on end like this.
func (w *world) answer(f func() ([]string, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answerer = f
}

func dial(t *testing.T) *dbus.Conn {
	t.Helper()
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// full has each property.
var full = Properties{
	State: "ready", Text: "seeded", InstanceID: "i-1", VirtualRouter: "10.1.1.1", Device: "eth0", SeedPath: "/seed",
	From: "virtual router", Outcome: "good", LastError: "none", FetchedAt: time.UnixMicro(3), Started: time.UnixMicro(1), Ended: time.UnixMicro(2),
	Steps: []Step{{"lease", 5 * time.Millisecond}, {"clock set back", -time.Second}},
}

func TestProperties(t *testing.T) {
	bus(t)
	w := serve(t, time.Minute)
	object := dial(t).Object(Name, Path)
	var all map[string]dbus.Variant
	if err := object.Call(propertiesIface+".GetAll", 0, Interface).Store(&all); err != nil {
		t.Fatal(err)
	}
	if all["InstanceId"].Value() != "" || all["FetchedAt"].Value() != uint64(0) || all["Ended"].Value() != uint64(0) {
		t.Errorf("got %v, want InstanceId empty, FetchedAt and Ended 0", all)
	}
	w.set(full)
	if err := object.Call(propertiesIface+".GetAll", 0, Interface).Store(&all); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]any)
	for name, value := range all {
		got[name] = value.Value()
	}
	want := map[string]any{
		"State": "ready", "Text": "seeded", "InstanceId": "i-1", "VirtualRouter": "10.1.1.1", "Device": "eth0", "SeedPath": "/seed",
		"Source": "virtual router", "Outcome": "good", "LastError": "none", "FetchedAt": uint64(3), "Started": uint64(1), "Ended": uint64(2),
		"Steps": [][]any{{"lease", uint64(5000)}, {"clock set back", uint64(0)}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if value, err := object.GetProperty(Interface + ".Device"); err != nil || value.Value() != "eth0" {
		t.Errorf("Device: got %v, error %v, want eth0", value, err)
	}
	for name, call := range map[string]*dbus.Call{
		"UnknownProperty":  object.Call(propertiesIface+".Get", 0, Interface, "Password"),
		"UnknownInterface": object.Call(propertiesIface+".GetAll", 0, "org.example"),
		"PropertyReadOnly": object.Call(propertiesIface+".Set", 0, Interface, "State", dbus.MakeVariant("x")),
		"UnknownMethod":    object.Call(Interface+".Reboot", 0),
		"InvalidArgs":      object.Call(propertiesIface+".Get", 0, "one"),
	} {
		var e dbus.Error
		if !errors.As(call.Err, &e) || e.Name != "org.freedesktop.DBus.Error."+name {
			t.Errorf("got the error %v, want %s", call.Err, name)
		}
	}
	if w.fetches.Load() != 0 {
		t.Errorf("reading has asked the virtual router %d times, want 0", w.fetches.Load())
	}
}

// What is served is what the interface's document says.
func TestIntrospectionMatchesDocument(t *testing.T) {
	bus(t)
	serve(t, time.Minute)
	object := dial(t).Object(Name, Path)
	var document string
	if err := object.Call("org.freedesktop.DBus.Introspectable.Introspect", 0).Store(&document); err != nil {
		t.Fatal(err)
	}
	if document != policy.Interface {
		t.Errorf("got the document %s, want %s", document, policy.Interface)
	}
	var node introspect.Node
	decoder := xml.NewDecoder(strings.NewReader(document))
	if err := decoder.Decode(&node); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(node.Interfaces, func(i introspect.Interface) bool { return i.Name == Interface })
	documented := make(map[string]string)
	for _, p := range node.Interfaces[i].Properties {
		documented[p.Name] = p.Type
		if p.Access != "read" {
			t.Errorf("%s: got access %s, want read", p.Name, p.Access)
		}
	}
	served := make(map[string]string)
	for name, value := range full.variants() {
		served[name] = value.Signature().String()
	}
	if diff := cmp.Diff(documented, served); diff != "" {
		t.Errorf("properties (-documented +served):\n%s", diff)
	}
	if methods := node.Interfaces[i].Methods; len(methods) != 1 || methods[0].Name != "Refresh" || methods[0].Args[0].Type != "as" {
		t.Errorf("got the methods %v, want Refresh alone, with an argument of type as", methods)
	}
	// Each method of each interface is there.
	for _, iface := range node.Interfaces {
		for _, m := range iface.Methods {
			var e dbus.Error
			err := object.Call(iface.Name+"."+m.Name, 0).Err
			if errors.As(err, &e) && strings.HasPrefix(e.Name, "org.freedesktop.DBus.Error.Unknown") {
				t.Errorf("%s.%s: got the error %v, want none or another", iface.Name, m.Name, err)
			}
		}
	}
}

func TestRefresh(t *testing.T) {
	bus(t)
	w := serve(t, time.Minute, func(w *world) { w.calm = 1 }) // no answer is shared
	changed, err := Refresh(t.Context())
	if diff := cmp.Diff([]string{"public-keys", "user-data"}, changed); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for name, fails := range map[string]error{
		"Busy":   &Error{"Busy", errors.New("busy: healing")},
		"NotRun": fmt.Errorf("wrapped: %w", &Error{"NotRun", errors.New("not run")}),
		"Failed": errors.New("no virtual router answered"),
	} {
		synced := make(chan struct{})
		w.answer(func() ([]string, error) { defer close(synced); return nil, fails })
		_, err := Refresh(t.Context())
		var e *Error
		if !errors.As(err, &e) || e.Name != name || e.Error() != fails.Error() {
			t.Errorf("got the error %v, want %s: %v", err, name, fails)
		}
		<-synced
	}
	w.answer(func() ([]string, error) { return nil, nil })
	if changed, err := Refresh(t.Context()); err != nil || len(changed) != 0 {
		t.Errorf("got %q, error %v, want nothing and no error", changed, err)
	}
}

// looked waits until the server has looked that often from now on.
func (w *world) looked(t *testing.T, times int32) {
	t.Helper()
	for until := w.looks.Load() + times; w.looks.Load() < until; {
		w.wait(t, lookEvery/10)
	}
}

// wait lets a time pass.
func (w *world) wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case err := <-w.ended:
		t.Fatalf("the server has ended: %v", err)
	}
}

// A thousand calls at once are one fetch, over as many connections as it takes: a
// bus lets one wait for 128 answers (max_replies_per_connection).
func TestThousandCallsAreOneFetch(t *testing.T) {
	bus(t)
	w := serve(t, time.Minute, func(w *world) { w.calm = time.Hour }) // however long the last call takes to arrive
	const connections, each = 10, 100
	sent := make(chan struct{})
	w.answer(func() ([]string, error) {
		<-sent
		return []string{"a"}, nil
	})
	var all []*dbus.Call
	for range connections {
		object := dial(t).Object(Name, Path)
		for range each {
			all = append(all, object.Go(Interface+".Refresh", 0, make(chan *dbus.Call, 1)))
		}
	}
	close(sent)
	for _, call := range all {
		var changed []string
		<-call.Done
		if err := call.Store(&changed); err != nil || len(changed) != 1 {
			t.Fatalf("got %q, error %v, want one name and no error", changed, err)
		}
	}
	if n := w.fetches.Load(); n != 1 {
		t.Errorf("got %d fetches of %d calls, want 1", n, len(all))
	}
}

func TestPropertiesChanged(t *testing.T) {
	bus(t)
	w := serve(t, time.Minute)
	conn := dial(t)
	if err := conn.AddMatchSignal(dbus.WithMatchSender(Name), dbus.WithMatchObjectPath(Path)); err != nil {
		t.Fatal(err)
	}
	signals := make(chan *dbus.Signal, 10)
	conn.Signal(signals)
	w.looked(t, 2) // the server tells of what changes after its first look
	w.set(full)
	s := <-signals
	if s.Name != propertiesIface+".PropertiesChanged" || s.Body[0] != Interface {
		t.Errorf("got the signal %v, want PropertiesChanged of %s", s, Interface)
	}
	changed := s.Body[1].(map[string]dbus.Variant)
	want := full.variants()
	delete(want, "State") // is what it was
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(changed))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	more := full
	more.Device = "eth1"
	w.set(more)
	s = <-signals
	if changed := s.Body[1].(map[string]dbus.Variant); len(changed) != 1 || changed["Device"].Value() != "eth1" {
		t.Errorf("got the change %v, want that of Device to eth1", changed)
	}
	w.looked(t, 3) // without a change
	more.Text = "another"
	w.set(more)
	s = <-signals
	if changed := s.Body[1].(map[string]dbus.Variant); len(changed) != 1 || changed["Text"].Value() != "another" {
		t.Errorf("got the change %v, want the next one, of Text", changed)
	}
}

// The server ends when nobody needs it: not while something goes on, not while a
// call waits, and no call is lost.
func TestIdleServerEnds(t *testing.T) {
	bus(t)
	const idle = 300 * time.Millisecond
	w := serve(t, idle, func(w *world) { w.is = Properties{State: "leasing", Busy: true} })
	w.wait(t, 3*idle) // fails if it ends
	w.answer(func() ([]string, error) {
		w.set(Properties{State: "ready"})
		<-time.After(3 * idle)
		return []string{"late"}, nil
	})
	if changed, err := Refresh(t.Context()); err != nil || len(changed) != 1 {
		t.Errorf("got %q, error %v, want one name and no error", changed, err)
	}
	select {
	case err := <-w.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(hangLimit):
		t.Error("the server does not end")
	}
	if _, err := Refresh(t.Context()); err == nil {
		t.Error("got an answer after the end, want an error")
	}
}

// A call that is on its way when the server leaves has its answer.
func TestLeavesNothingUnanswered(t *testing.T) {
	bus(t)
	conn := dial(t)
	for range 20 {
		w := serve(t, time.Minute)
		release := make(chan struct{})
		w.answer(func() ([]string, error) { <-release; return nil, nil })
		var all []*dbus.Call
		for range 50 {
			all = append(all, conn.Object(Name, Path).Go(propertiesIface+".GetAll", 0, make(chan *dbus.Call, 1), Interface))
		}
		all = append(all, conn.Object(Name, Path).Go(Interface+".Refresh", 0, make(chan *dbus.Call, 1)))
		if err := conn.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil { // the bus has them
			t.Fatal(err)
		}
		w.stop()
		close(release)
		for _, call := range all {
			if <-call.Done; call.Err != nil {
				t.Fatal(call.Err)
			}
		}
		if err := <-w.ended; err != nil {
			t.Fatal(err)
		}
	}
}

// Who wants no answer and comes at the last moment is not lost, either.
func TestAskWhileServerLeaves(t *testing.T) {
	bus(t)
	conn := dial(t)
	var done atomic.Bool
	w := serve(t, lookEvery, func(w *world) {
		w.answer(func() ([]string, error) {
			<-time.After(2 * lookEvery)
			done.Store(true)
			return nil, nil
		})
		late := func() {
			if err := ask(t.Context(), conn); err != nil {
				t.Error(err)
			}
		}
		w.leaving.Store(&late)
	})
	if err := <-w.ended; err != nil || !done.Load() {
		t.Errorf("got error %v, fetched: %t, want none and true", err, done.Load())
	}
}

func TestServerFailsWithoutNameOrBus(t *testing.T) {
	d := bus(t)
	w := serve(t, time.Minute)
	second := &Server{Log: w.Log, Look: w.look, Ready: func() {}, Leaving: func() {}, Idle: time.Minute}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another process has it") {
		t.Errorf("a second server: got the error %v, want that another process has the name", err)
	}
	d.Stop()
	if err := <-w.ended; err == nil || !strings.Contains(err.Error(), "was lost") {
		t.Errorf("without a bus: got the error %v, want that it was lost", err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot connect to the system bus") {
		t.Errorf("without a bus: got the error %v, want that it cannot connect", err)
	}
	if _, err := Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot connect to the system bus") {
		t.Errorf("without a bus: got the error %v, want that it cannot connect", err)
	}
}

// asNobody runs dbus-send as another user than root, which has to run this test.
func asNobody(t *testing.T, d *nmtest.Daemon, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "dbus-send", append([]string{"--bus=" + d.Address, "--print-reply", "--dest=" + Name, Path}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Pdeathsig: syscall.SIGKILL}
	cmd.Dir = "/"
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// Anybody reads; only root refreshes and has the name.
func TestOtherUsersOnlyRead(t *testing.T) {
	d := bus(t)
	w := serve(t, time.Minute)
	w.set(full)
	for _, args := range [][]string{
		{propertiesIface + ".GetAll", "string:" + Interface},
		{propertiesIface + ".Get", "string:" + Interface, "string:VirtualRouter"},
	} {
		if out, err := asNobody(t, d, args...); err != nil || !strings.Contains(out, `"10.1.1.1"`) {
			t.Errorf("%q: got the error %v, want none and 10.1.1.1 in\n%s", args, err, out)
		}
	}
	if out, err := asNobody(t, d, "org.freedesktop.DBus.Introspectable.Introspect"); err != nil || !strings.Contains(out, "Refresh") {
		t.Errorf("got the error %v, want none and Refresh in\n%s", err, out)
	}
	if out, err := asNobody(t, d, "org.freedesktop.DBus.Peer.Ping"); err != nil {
		t.Errorf("got the error %v, want none\n%s", err, out)
	}
	for _, args := range [][]string{
		{Interface + ".Refresh"},
		{propertiesIface + ".Set", "string:" + Interface, "string:State", "variant:string:x"},
		{"org.freedesktop.systemd1.Manager.Reload"},
	} {
		if out, err := asNobody(t, d, args...); err == nil {
			t.Errorf("%q: got no error, want a refusal: %s", args, out)
		}
	}
	if w.fetches.Load() != 0 {
		t.Errorf("got %d questions to the virtual router, want 0", w.fetches.Load())
	}
	out, err := asNobody(t, d, "--dest=org.freedesktop.DBus", "org.freedesktop.DBus.RequestName", "string:"+Name, "uint32:2") // replace
	if err == nil {
		t.Errorf("got the name as nobody, want a refusal: %s", out)
	}
}

// Ask does not wait for the fetch, and is not lost when the caller goes at once.
func TestAsk(t *testing.T) {
	bus(t)
	w := serve(t, time.Minute)
	release, asked := make(chan struct{}), make(chan struct{})
	w.answer(func() ([]string, error) { close(asked); <-release; return nil, nil })
	if err := Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-asked
	close(release)
}

// Who gives the name back at that very moment does not count: his next process does.
func TestAskFollowsTheName(t *testing.T) {
	d := bus(t)
	asked := make(chan struct{}, 1)
	next := dial(t)
	if err := next.ExportMethodTable(map[string]any{"Refresh": func() *dbus.Error { asked <- struct{}{}; return nil }}, Path, Interface); err != nil {
		t.Fatal(err)
	}
	leaves := dial(t)
	for _, conn := range []*dbus.Conn{leaves, next} { // which waits for the name
		if _, err := conn.RequestName(Name, 0); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := d.Dial(dbus.WithOutgoingInterceptor(func(m *dbus.Message) {
		if m.Headers[dbus.FieldMember].Value() == "Refresh" {
			if _, err := leaves.ReleaseName(Name); err != nil {
				t.Error(err)
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := ask(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(hangLimit):
		t.Error("who has the name now was not asked")
	}
}
