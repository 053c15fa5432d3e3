package main

import (
	"context"
	_ "embed" // cloudimage.sh
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
)

// way is a way to an image: a section of the page.
type way struct {
	name    string
	slow    string // why it has to be asked for
	prepare func(context.Context, *workshop) error
	before  string // commands that give what the reader has
	open    string // commands that put the files of the image into opened/
}

func ways() []way {
	return []way{
		{name: "chroot", prepare: usedImage, open: "mv ROOT opened"},
		{name: "mmdebstrap", open: "mkdir opened; tar -xf image.tar -C opened"},
		{name: "mkosi", before: mkosiArchive, open: openDisk + "open_disk mkosi/image.raw"},
		{name: "virt-customize", slow: "boots an emulated machine, some minutes", before: cloudImage(), open: openQcow + "open_qcow image.qcow2"},
		{name: "packer", slow: "builds Packer first, some minutes of compiling", prepare: buildPacker,
			before: cloudImage(), open: openQcow + "open_qcow output/image.qcow2"},
	}
}

// usedImage makes ROOT, an image that has booted.
func usedImage(ctx context.Context, shop *workshop) error {
	image := debroot.Image(suite)
	if err := debroot.Prepare(ctx, os.Stdout, image); err != nil {
		return err
	}
	system, err := image.Open()
	if err != nil {
		return err
	}
	root := filepath.Join(shop.dir("chroot"), "ROOT")
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "cp", "--archive", system, root).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy an image: %w: %s", err, out)
	}
	cloud := filepath.Join(root, "var/lib/cloud")
	return errors.Join(
		os.WriteFile(filepath.Join(root, "etc/machine-id"), []byte("0123456789abcdef0123456789abcdef\n"), 0o444),
		os.MkdirAll(filepath.Join(cloud, "instances/used"), 0o755),
		os.Symlink("/var/lib/cloud/instances/used", filepath.Join(cloud, "instance")),
	)
}

// mkosiArchive has mkosi use the archive that the workshop comes from. Its own
// list has one of debug symbols, too, which a mirror need not have.
const mkosiArchive = `
mkdir -p mkosi/mkosi.sandbox/etc/apt/sources.list.d
read -r _ archive suite _ </etc/apt/sources.list
cat >mkosi/mkosi.sandbox/etc/apt/sources.list.d/mkosi.sources <<END
Types: deb
URIs: $archive
Suites: $suite
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
`

//go:embed cloudimage.sh
var cloudImageScript string

// cloudImage makes image.qcow2, once for all ways.
func cloudImage() string {
	return "[ -e ../cloudimage/image.qcow2 ] || (\nmkdir ../cloudimage\ncd ../cloudimage\n" + mkosiArchive + cloudImageScript + ")\n" +
		"cp ../cloudimage/image.qcow2 .\n"
}

const openDisk = `
open_disk() {
	start=$(sfdisk --dump "$1" | sed -n 's/.*start= *\([0-9]*\),.*name="root.*/\1/p')
	mkdir opened
	debugfs -R 'rdump / opened' "$1?offset=$((start * 512))"
}
`

const openQcow = openDisk + `
open_qcow() {
	qemu-img convert -O raw "$1" opened.raw
	open_disk opened.raw
}
`
