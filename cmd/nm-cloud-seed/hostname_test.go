package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAwaitHostname(t *testing.T) {
	const never = 300 * time.Millisecond
	for _, tt := range []struct {
		name, static, kernel string
		waits                bool
	}{
		{"the same", "web-1\n", "web-1\n", false},
		{"put back", "# by cloud-init\n\nweb-1\n", "localhost\n", true},
		{"none", "", "web-1\n", false},
		{"as the image has it", "localhost.localdomain\n", "testvm\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			static, kernel := filepath.Join(dir, "static"), filepath.Join(dir, "kernel")
			for path, text := range map[string]string{static: tt.static, kernel: tt.kernel} {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			awaitHostname(static, kernel, never)
			if waited := time.Since(began) >= never; waited != tt.waits {
				t.Errorf("waited: %t, want %t", waited, tt.waits)
			}
			if !tt.waits {
				return
			}
			corrected := make(chan error)
			go func() {
				time.Sleep(50 * time.Millisecond)
				corrected <- os.WriteFile(kernel, []byte("web-1\n"), 0o644)
			}()
			awaitHostname(static, kernel, time.Hour)
			if err := <-corrected; err != nil {
				t.Error(err)
			}
		})
	}
}
