package nm

import "testing"

// TestInterfaceIndex: the loopback interface is the first of every network
// namespace (LOOPBACK_IFINDEX in linux/net_namespace.h).
func TestInterfaceIndex(t *testing.T) {
	for name, want := range map[string]int{"lo": 1, "missing0": 0, "": 0, "a-name-that-is-too-long": 0} {
		if got := interfaceIndex(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}
