package cloudstack

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/lease"
)

const (
	vmID = "6d3f2c1a-90ab-4cde-8f01-23456789abcd"
	// secret is part of every value, and never of what anybody says.
	secret = "MARKER-OF-A-SECRET"
	limit  = 5 * time.Minute // ends what hangs, and nothing else
)

// lab has addresses on the loopback device or on pipes, which share a port, and
// VRs on them. It hears all that is said, and fails the test if that holds a
// secret.
type lab struct {
	*testing.T
	port      uint16
	listeners []net.Listener
	pipes     *pipes // nil for the loopback device

	mu     sync.Mutex
	said   strings.Builder // log, status, errors and warnings
	status []string
	found  []datasource.Origin
}

// newLab listens on so many addresses: 127.0.0.2 and those after it.
func newLab(t *testing.T, addresses int) *lab {
	t.Helper()
	l := &lab{T: t}
	for try := 0; len(l.listeners) < addresses; try++ {
		ln, err := net.Listen("tcp4", net.JoinHostPort(l.addr(len(l.listeners)).String(), strconv.Itoa(int(l.port))))
		if err == nil {
			l.listeners = append(l.listeners, ln)
			l.port = ln.Addr().(*net.TCPAddr).AddrPort().Port()
			continue
		}
		if !errors.Is(err, unix.EADDRINUSE) || try > 100 {
			t.Fatal(err)
		}
		for _, ln := range l.listeners { // the next port
			_ = ln.Close()
		}
		l.listeners, l.port = nil, 0
	}
	l.checkSecrets()
	return l
}

// checkSecrets closes the listeners at the end of the test, and looks for
// secrets in what was said.
func (l *lab) checkSecrets() {
	l.Cleanup(func() {
		for _, ln := range l.listeners {
			_ = ln.Close()
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if strings.Contains(l.said.String(), secret) {
			l.Errorf("a value is in what was said:\n%s", l.said.String())
		}
	})
}

// addr is the address number i. One that the lab does not listen on refuses.
func (l *lab) addr(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)}) }

// vr serves one VM, or none (nil) on the address number i.
func (l *lab) vr(i int, vm *vrtest.VM, faults ...vrtest.Fault) *vrtest.VR {
	vr := vrtest.New()
	vr.SetDefaultVM(vm)
	vr.SetFaults(faults...)
	l.serve(i, vr.ServeMetadata)
	return vr
}

// passwords is vr for the password port.
func (l *lab) passwords(i int, vm *vrtest.VM, faults ...vrtest.Fault) *vrtest.VR {
	vr := vrtest.New()
	vr.SetDefaultVM(vm)
	for f := range faults {
		faults[f].Port = vrtest.PasswordPort
	}
	vr.SetFaults(faults...)
	l.serve(i, vr.ServePasswords)
	return vr
}

func (l *lab) serve(i int, serve func(context.Context, net.Listener) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l.listeners[i]) }()
	l.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			l.Error(err)
		}
	})
}

// raw answers each connection to the address number i with the same bytes, and
// returns the requests.
func (l *lab) raw(i int, response string) <-chan string {
	requests := make(chan string, 100)
	go func() {
		for {
			c, err := l.listeners[i].Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer := make([]byte, 8<<10)
				n, _ := c.Read(buffer)
				requests <- string(buffer[:n])
				_, _ = c.Write([]byte(response))
			}()
		}
	}()
	return requests
}

// example is a VM whose values all have the secret in them, but the ID, which
// is none.
func example() *vrtest.VM {
	vm := vrtest.Example(vmID, addr("127.0.0.1"))
	for i, key := range vm.Metadata {
		if key.Value != vmID {
			vm.Metadata[i].Value += " " + secret
		}
	}
	vm.UserData = []byte("#cloud-config\npassword: " + secret + "\n")
	return vm
}

// values are what a client is to make of a VM.
func values(vm *vrtest.VM) map[string]string {
	all := map[string]string{}
	for _, key := range vm.Metadata {
		all[key.Name] = key.Value
	}
	return all
}

// lease names the address number server as the DHCP server, and the others as
// routers; without others it is the router as well, as on most networks.
func (l *lab) lease(server int, routers ...int) lease.Lease {
	found := lease.Lease{Device: "lo", Index: 1, Address: netip.MustParsePrefix("127.0.0.1/8"), Server: l.addr(server)}
	if len(routers) == 0 {
		routers = []int{server}
	}
	for _, i := range routers {
		found.Routers = append(found.Routers, l.addr(i))
	}
	return found
}

// fetcher tells the lab all.
func (l *lab) fetcher() *Fetcher {
	log := logrus.New()
	log.SetOutput(l)
	log.SetLevel(logrus.TraceLevel)
	f := New(Options{
		Log:  log,
		Port: l.port,
		Status: func(text string) {
			l.hear(text)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.status = append(l.status, text)
		},
		Found: func(o datasource.Origin) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.found = append(l.found, o)
		},
	})
	f.newClient = l.client
	return f
}

// Write takes the log.
func (l *lab) Write(p []byte) (int, error) {
	l.hear(string(p))
	return len(p), nil
}

func (l *lab) hear(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said.WriteString(text + "\n")
}

func (l *lab) heard() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said.String()
}

// fetch fetches with these views, which are all there from the start.
func (l *lab) fetch(views ...lease.View) (*datasource.Instance, error) {
	ctx, cancel := context.WithTimeout(l.Context(), limit)
	defer cancel()
	return l.fetchWith(ctx, l.fetcher(), queue(views...))
}

func (l *lab) fetchWith(ctx context.Context, f *Fetcher, views <-chan lease.View) (*datasource.Instance, error) {
	inst, err := f.Fetch(ctx, views)
	return inst, l.note(inst, err)
}

func queue(views ...lease.View) chan lease.View {
	c := make(chan lease.View, len(views))
	for _, v := range views {
		c <- v
	}
	return c
}

// crawl crawls the VR on the address number 0, once.
func (l *lab) crawl() (*datasource.Instance, error) {
	ctx, cancel := context.WithTimeout(l.Context(), limit)
	defer cancel()
	c := l.client(l.lease(0))
	defer c.close()
	inst, err := crawl(ctx, c, l.addr(0), vmID, c.begin(ctx, l.addr(0)))
	return inst, l.note(inst, err)
}

// note hears what an error and an instance's warnings say, also in the forms
// that %q and %v give them.
func (l *lab) note(inst *datasource.Instance, err error) error {
	if err != nil {
		l.hear(err.Error())
	}
	if inst != nil {
		warnings, _ := json.Marshal(inst.Warnings)
		l.hear(string(warnings))
	}
	return err
}
