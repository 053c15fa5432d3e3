package qemu

import (
	"encoding/json"
	"io"
)

// qmpStart makes QEMU tell of events
// (https://www.qemu.org/docs/master/interop/qmp-spec.html).
const qmpStart = `{"execute":"qmp_capabilities"}` + "\n"

// shutdownReason reads what QEMU tells until its end and returns why it ended
// (ShutdownCause in QEMU's run-state.json), "" if it did not say.
func shutdownReason(messages io.Reader) string {
	var reason string
	for d := json.NewDecoder(messages); ; {
		var m struct {
			Event string
			Data  struct{ Reason string }
		}
		if err := d.Decode(&m); err != nil {
			_, _ = io.Copy(io.Discard, messages) // QEMU must not wait for a reader
			return reason
		}
		if m.Event == "SHUTDOWN" && reason == "" {
			reason = m.Data.Reason
		}
	}
}
