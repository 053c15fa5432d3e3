//go:build integration

package qemu

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What a guest does at its end, in 16-bit machine code.
var (
	hang     = []byte{0xfa, 0xf4, 0xeb, 0xfd}                              // cli; hlt, again and again
	powerOff = append([]byte{0xba, 4, 6, 0xb8, 0, 0x20, 0xef}, hang...)    // out of 0x2000 to PM1a_CNT: ACPI's S5
	reset    = append([]byte{0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee}, hang...) // out of 6 to the reset control register
)

// machine is a machine without a disk, whose kernel writes a text to the serial
// port and then does one thing. Such a kernel is the part of a bzImage that
// starts in real mode (https://docs.kernel.org/arch/x86/boot.html).
func machine(t *testing.T, text string, then []byte) Machine {
	t.Helper()
	const codeAt = 0x270
	code := slices.Concat(
		[]byte{0xbe, 0, 0, // mov si, text
			0x2e, 0xac, // next: cs lodsb
			0x84, 0xc0, // test al, al
			0x74, 6, // jz then
			0xba, 0xf8, 0x03, 0xee, // out of al to the serial port
			0xeb, 0xf4}, // jmp next
		then)
	binary.LittleEndian.PutUint16(code[1:], uint16(codeAt-0x200+len(code)))
	image := make([]byte, 4096)
	image[0x1f1] = 1 // sectors of the real-mode part
	copy(image[0x1fe:], "\x55\xaa\xeb\x6eHdrS\x02\x02")
	image[0x211] = 1 // the rest goes to 1 MB
	copy(image[codeAt:], slices.Concat(code, []byte(text), []byte{0}))
	dir := t.TempDir()
	m := Machine{Kernel: filepath.Join(dir, "kernel"), Console: filepath.Join(dir, "console,1"), MemoryMB: 64, Accel: TCG}
	if err := os.WriteFile(m.Kernel, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}
