# make help shows what there is.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GO      ?= go
LINT     = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
PARALLEL = 8 # lab tests mostly wait
FUZZTIME ?= 10s
BOOT    ?= # options of test/boot, such as -run sid
IMAGES  ?= # which of docs/images.md's ways: names, or all
BINARY  ?= build/nm-cloud-seed
ARCHES  ?= amd64 arm64
DIST    ?= dist

.PHONY: help build packages no-packages demo test test-user test-boot test-images lint fuzz bench needs-demo needs-test needs-boot needs-images clean

help: ## show this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

build: ## build build/nm-cloud-seed, static and stripped
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BINARY) ./cmd/nm-cloud-seed

packages: no-packages $(ARCHES:%=package-%) ## build static binaries, debs and rpms in dist/

no-packages: # of an older version
	rm -f $(DIST)/*.deb $(DIST)/*.rpm

package-%: no-packages
	GOOS=linux GOARCH=$* $(MAKE) --no-print-directory build BINARY=$(DIST)/nm-cloud-seed-linux-$*
	GO='$(GO)' packaging/build $(DIST)/nm-cloud-seed-linux-$* $* '$(VERSION)' $(DIST)

demo: needs-demo build ## show the main job in a lab: real NetworkManager and dnsmasq, simulated virtual router
	$(GO) run ./test/lab/demo build/nm-cloud-seed

test: needs-test ## unit, fake NetworkManager and lab tests, with the race detector
	$(GO) vet ./...
	$(GO) test -race -parallel $(PARALLEL) ./...

# As root, the lab's other half: with user namespaces, as an ordinary user has it.
test-user: needs-test ## the lab tests as an ordinary user (run by root: as nobody)
	test/as-user $(PARALLEL)

test-boot: needs-boot ## boot Debian 12, 13 and sid with and without the package, in containers and QEMU
	rm -rf build/boot && mkdir -p build/boot
	$(MAKE) --no-print-directory packages ARCHES=$$($(GO) env GOARCH) DIST=build/boot
	CGO_ENABLED=0 $(GO) build -o build/boot/boot ./test/boot # static: it goes into images
	build/boot/boot $(BOOT) build/boot/*.deb

test-images: needs-images ## do what docs/images.md says and check the images
	rm -rf build/images && mkdir -p build/images
	$(MAKE) --no-print-directory packages ARCHES=amd64 DIST=build/images
	$(GO) run ./test/images build/images $(IMAGES)

lint: ## golangci-lint with the project's rules
	$(LINT) run ./...

fuzz: ## each fuzz target for FUZZTIME
	test/fuzz $(FUZZTIME)

bench: build ## compare with cloud-init's crawl and a script: docs/performance.md
	@test/packages network-manager dbus dnsmasq-base iproute2 curl mmdebstrap
	mkdir -p docs
	$(GO) run ./test/bench build/nm-cloud-seed nm/dispatcher.d/50-nm-cloud-seed docs/performance.md

needs-demo:
	@test/packages network-manager dbus dnsmasq-base iproute2

needs-test:
	@test/packages network-manager dbus dnsmasq-base iproute2 mmdebstrap python3-yaml gcc libc6-dev systemd lintian rpm mandoc shellcheck qemu-system-x86 e2fsprogs bash bash-completion zsh fish

needs-boot:
	@test/packages dbus dnsmasq-base iproute2 network-manager mmdebstrap systemd-container qemu-system-x86 e2fsprogs

needs-images:
	@test/packages mmdebstrap util-linux

clean: ## remove what was built
	rm -rf build dist
