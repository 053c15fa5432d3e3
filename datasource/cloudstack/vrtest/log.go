package vrtest

import (
	"net/netip"
	"slices"
	"time"
)

// Port names one of the two services of a VR.
type Port int

// The services.
const (
	MetadataPort Port = iota // TCP port 80
	PasswordPort             // TCP port 8080
)

// Request is one request as the VR received it. It never holds a password or
// any other part of an answer.
type Request struct {
	Time        time.Time // when it was read completely
	Port        Port
	Client      netip.Addr // source address of the connection; invalid if that has none
	Method      string
	Path        string // as sent, with the query
	DomURequest string // the DomU_Request field, of the password protocol
	Status      int    // what was answered; 0 for none (see Fault)
	Conn        int    // number of the connection; the first one of a VR is 1
}

// Requests returns the requests on both ports since New or ResetLog, oldest
// first. A request is in it before its answer leaves.
func (v *VR) Requests() []Request {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.requests)
}

// Connections returns how many TCP connections the metadata port has accepted
// since New or ResetLog, including those that carried no request.
func (v *VR) Connections() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.accepted
}

// ResetLog empties Requests and starts Connections from zero. Connection
// numbers go on, so those of open connections stay unique.
func (v *VR) ResetLog() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.requests, v.accepted = nil, 0
}

func (v *VR) logConn(port Port) (number int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lastConn++
	if port == MetadataPort {
		v.accepted++
	}
	return v.lastConn
}

func (v *VR) logRequest(request Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.requests = append(v.requests, request)
}
