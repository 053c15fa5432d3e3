package vrtest

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault is one thing that goes wrong. The first group of members says when it
// does, the second replaces the answer, the third spoils the delivery of
// whatever the answer is. Several may be set together, for instance Status and
// Delay; in the second group the later ones win. The zero value is no fault.
//
// A request is carried out before its answer is replaced or spoilt, so an
// acknowledged password is forgotten even if the client never learns of it.
type Fault struct {
	Port  Port                 // of the two services; the zero value is MetadataPort
	Match func(r Request) bool // nil for every request; sees all but Status
	Times int                  // only the first so many matching requests; 0 for all
	For   time.Duration        // only so long after SetFaults; 0 for ever

	Status      int    // this status, with the server's own page
	Empty       bool   // 200 with an empty body
	Oversize    int64  // 200 with so many bytes of filler
	Body        []byte // 200 with this body: a foreign web server (see ContentType)
	ContentType string // of Body
	RedirectTo  string // 302 with this Location

	Delay       time.Duration // before the answer
	NoLength    bool          // no Content-Length: closing the connection ends the body
	HeaderBytes int           // a header field with a value of so many bytes
	Drip        time.Duration // before each byte of the body
	Truncate    int64         // announce the whole body, send so many bytes of it, close
	Reset       bool          // TCP reset instead of an answer
	Hang        bool          // no answer, until the client leaves or serving ends
}

// Path matches requests for exactly this path and query.
func Path(path string) func(Request) bool {
	return func(r Request) bool { return r.Path == path }
}

// DomURequest matches requests with this value of the DomU_Request field, such
// as send_my_password.
func DomURequest(value string) func(Request) bool {
	return func(r Request) bool { return r.DomURequest == value }
}

// SetFaults replaces all faults; without arguments nothing is wrong any more.
// For each request the first fault applies that matches and is not used up.
// Answers on their way keep the fault that they started with.
func (v *VR) SetFaults(faults ...Fault) {
	armed := make([]*armedFault, len(faults))
	for i, f := range faults {
		f.Body = slices.Clone(f.Body)
		armed[i] = &armedFault{Fault: f}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults, v.faultsSet = armed, time.Now()
}

// armedFault counts how often its fault has happened.
type armedFault struct {
	Fault
	happened int
}

// fault returns the fault of a request, and counts it.
func (v *VR) fault(r Request) Fault {
	v.mu.Lock()
	armed, age := v.faults, time.Since(v.faultsSet)
	v.mu.Unlock()
	for _, f := range armed {
		if f.Port != r.Port || f.For > 0 && age >= f.For {
			continue
		}
		// Without the lock: Match is the test's code, and may ask the VR.
		if f.Match != nil && !f.Match(r) {
			continue
		}
		if v.use(f) {
			return f.Fault
		}
	}
	return Fault{}
}

func (v *VR) use(f *armedFault) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if f.Times > 0 && f.happened >= f.Times {
		return false
	}
	f.happened++
	return true
}

// apply replaces the answer, as the second group of members says.
func (f Fault) apply(a answer, s service) answer {
	if f.Status != 0 {
		a = s.page(f.Status)
	}
	if f.Empty {
		a = s.content("", nil)
	}
	if f.Oversize > 0 {
		a = s.content("", nil)
		a.body = io.LimitReader(filler{}, f.Oversize)
		if a.size >= 0 {
			a.size = f.Oversize
		}
	}
	if f.Body != nil {
		a = s.content(f.ContentType, f.Body)
	}
	if f.RedirectTo != "" {
		a = s.page(http.StatusFound)
		a.fields = append(a.fields, field{"Location", f.RedirectTo})
	}
	if f.HeaderBytes > 0 {
		a.fields = append(a.fields, field{"X-Filler", strings.Repeat("x", f.HeaderBytes)})
	}
	if f.NoLength {
		a.size = -1
	}
	return a
}

// filler is an endless stream of a harmless letter.
type filler struct{}

func (filler) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
