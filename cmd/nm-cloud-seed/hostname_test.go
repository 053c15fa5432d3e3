package main

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestAwaitHostname(t *testing.T) {
	const limit = 3 * time.Second
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
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				awaitHostname(static, kernel, limit)
				var want time.Duration
				if tt.waits {
					want = limit
				}
				if got := time.Since(began); got != want {
					t.Errorf("got a wait of %v, want %v", got, want)
				}
				if !tt.waits {
					return
				}
				const correctedAfter = 50 * time.Millisecond
				corrected := make(chan error, 1)
				time.AfterFunc(correctedAfter, func() { corrected <- os.WriteFile(kernel, []byte("web-1\n"), 0o644) })
				began = time.Now()
				awaitHostname(static, kernel, time.Hour)
				if got := time.Since(began); got < correctedAfter || got >= time.Second {
					t.Errorf("got a wait of %v, want one until the correction after %v", got, correctedAfter)
				}
				if err := <-corrected; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
