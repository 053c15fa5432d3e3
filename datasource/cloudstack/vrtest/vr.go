// Package vrtest simulates CloudStack's virtual router (VR), the machine that
// serves metadata, user-data and passwords to the VMs of a network, and the
// ways in which one fails.
//
// The answers are those of Apache 2.4.71 with the VR's own virtual host and
// rewrite rules, and of the VR's Python password server: bytes, order and case
// of the header included. net/http's server sorts the header and speaks
// HTTP/1.1 only, so the package writes to the connection itself. Left out is
// what no client of ours asks for: ranges (answered with the whole), OPTIONS
// and unknown methods (405), /metadata/ADDRESS/KEY (404), HTTPS and HTTP/0.9.
//
// Sources, in github.com/apache/cloudstack:
// systemvm/debian/opt/cloud/bin/configure.py (class CsVmMetadata),
// systemvm/debian/opt/cloud/bin/passwd_server_ip.py and
// systemvm/debian/etc/apache2/vhost.template.
package vrtest

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// VR is one virtual router. It is safe for concurrent use, and everything
// about it may be changed while it serves.
type VR struct {
	mu           sync.Mutex
	vms          map[netip.Addr]*storedVM
	defaultVM    *storedVM
	acknowledged map[netip.Addr]bool
	oldPasswords bool

	faults    []*armedFault
	faultsSet time.Time

	requests []Request
	lastConn int // number of the newest connection, on both ports
	accepted int // connections on the metadata port since ResetLog
}

// storedVM is a VM as of the time it was written to the VR's disk, which shows
// in Last-Modified and ETag.
type storedVM struct {
	VM
	written time.Time
}

// New returns a VR that knows no VM yet.
func New() *VR {
	return &VR{
		vms:          make(map[netip.Addr]*storedVM),
		acknowledged: make(map[netip.Addr]bool),
	}
}

// SetVM makes vm the VM with the address addr; later changes to *vm have no
// effect. A nil vm makes the VR forget the address, which then has the default
// VM or none. Setting a VM again makes its password wait again, even an
// acknowledged one, as happens when a VR reboots.
func (v *VR) SetVM(addr netip.Addr, vm *VM) {
	addr = addr.Unmap()
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.acknowledged, addr)
	if vm == nil {
		delete(v.vms, addr)
		return
	}
	v.vms[addr] = store(vm)
}

// SetDefaultVM makes vm the VM of every client address that SetVM was not
// called for, which no real VR has; nil removes it. The password is forgotten
// per client address.
func (v *VR) SetDefaultVM(vm *VM) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for addr := range v.acknowledged {
		if v.vms[addr] == nil {
			delete(v.acknowledged, addr)
		}
	}
	v.defaultVM = nil
	if vm != nil {
		v.defaultVM = store(vm)
	}
}

// vm returns the VM of a client, or nil. Like the VR it goes by the source
// address of the connection and by nothing the client says.
func (v *VR) vm(client netip.Addr) *storedVM {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.vmLocked(client)
}

func (v *VR) vmLocked(client netip.Addr) *storedVM {
	if vm := v.vms[client]; vm != nil {
		return vm
	}
	return v.defaultVM
}

func store(vm *VM) *storedVM {
	return &storedVM{VM: vm.clone(), written: time.Now()}
}

// ServeMetadata answers on l as the VR does on TCP port 80. When ctx ends it
// closes l and every connection, and returns nil. It returns an error if l
// fails before.
func (v *VR) ServeMetadata(ctx context.Context, l net.Listener) error {
	return v.serve(ctx, l, apache{v})
}

// ServePasswords answers on l as the VR does on TCP port 8080. It ends like
// ServeMetadata.
func (v *VR) ServePasswords(ctx context.Context, l net.Listener) error {
	return v.serve(ctx, l, passwordServer{v})
}
