package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// No Debian has Packer. These versions are under the MPL, and the Go module proxy
// has them, which does not hold for all. The plugin is where packer init would put
// it, beside the program, which finds that it is there already.
var packerModules = []struct{ module, version, file string }{
	{"github.com/hashicorp/packer", "v1.9.4", "packer"},
	{"github.com/hashicorp/packer-plugin-qemu", "v1.0.9", "github.com/hashicorp/qemu/packer-plugin-qemu_v1.0.9_x5.0_linux_amd64"},
}

// buildPacker takes two minutes, once: Go keeps what it has built.
func buildPacker(ctx context.Context, shop *workshop) error {
	for _, m := range packerModules {
		file := filepath.Join(shop.dir("bin"), m.file)
		if err := build(ctx, m.module+"@"+m.version, file); err != nil {
			return fmt.Errorf("cannot build %s: %w", m.module, err)
		}
		program, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		sum := fmt.Sprintf("%x", sha256.Sum256(program))
		if err := os.WriteFile(file+"_SHA256SUM", []byte(sum), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// build is go install for a module that is to be built as its own go.mod says.
func build(ctx context.Context, module, file string) error {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", module).Output()
	var m struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &m); err != nil || jsonErr != nil {
		return errors.Join(err, jsonErr, errors.New(m.Error))
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-C", m.Dir, "-ldflags", "-s -w", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w:\n%s", err, tail(out))
	}
	return nil
}
