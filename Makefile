# make help shows what there is.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GO      ?= go
LINT     = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
TIDY     = build/tidy # ends what a command leaves running, and removes its temporary files
BOOT_TIMES ?= '25 minutes' '15 minutes'
PARALLEL = 8 # lab tests mostly wait
TIMEOUT  = 60m # of a package's tests: only a hang takes that long
FUZZTIME ?= 10s
BOOT    ?= # options of test/boot, such as -run sid
IMAGES  ?= # which of docs/images.md's ways: names, or all
BINARY  ?= build/nm-cloud-seed
ARCHES  ?= amd64 arm64
DIST    ?= dist

DEMO_PACKAGES   = network-manager dbus dnsmasq-base iproute2 mmdebstrap
TEST_PACKAGES   = $(DEMO_PACKAGES) python3-yaml gcc libc6-dev systemd lintian rpm mandoc shellcheck qemu-system-x86 e2fsprogs bash bash-completion zsh fish
BOOT_PACKAGES   = $(DEMO_PACKAGES) systemd-container qemu-system-x86 e2fsprogs
IMAGES_PACKAGES = mmdebstrap util-linux

.PHONY: help build packages no-packages demo check test test-user test-boot test-boot-all test-images lint fuzz bench needs-demo needs-test needs-boot needs-images tidy clean clean-cache

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

# What a target takes is said before it begins: test/preflight TARGET FIRST THEN DISK PACKAGE...

demo: ## see the bug and its end in a lab: real NetworkManager, dnsmasq and cloud-init, a simulated virtual router
	@test/preflight demo '2 minutes' '15 seconds' '0.2 GB in ~/.cache/nm-cloud-seed' $(DEMO_PACKAGES)
	@$(MAKE) --no-print-directory --silent build
	@$(GO) build -o build/demo ./test/lab/demo
	@$(MAKE) --no-print-directory --silent tidy
	@$(TIDY) build/demo build/nm-cloud-seed

check: ## vet and unit tests, for every change: needs only Go
	@test/preflight check '3 minutes' 'under a minute' ''
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) vet -tags integration ./...
	CGO_ENABLED=0 $(GO) test -timeout $(TIMEOUT) ./...

test: ## all tests but the boots, with the race detector, as root
	@test/preflight test '20 minutes' '10 minutes' '1.0 GB in ~/.cache/nm-cloud-seed' $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory needs-test
	$(TIDY) $(GO) test -race -tags integration -timeout $(TIMEOUT) -p 4 -parallel $(PARALLEL) ./...

# The lab with user namespaces, as an ordinary user has it. make test has the race detector.
test-user: needs-demo tidy ## the lab tests as an ordinary user (run by root: as nobody)
	$(TIDY) test/as-user $(PARALLEL)

test-boot: ## boot Debian 12, 13 and sid with and without the package, in containers and QEMU
	@test/preflight $@ $(BOOT_TIMES) '1.2 GB in ~/.cache/nm-cloud-seed' $(BOOT_PACKAGES)
	@$(MAKE) --no-print-directory tidy
	rm -rf build/boot && mkdir -p build/boot
	$(MAKE) --no-print-directory packages ARCHES=$$($(GO) env GOARCH) DIST=build/boot
	CGO_ENABLED=0 $(GO) build -o build/boot/boot ./test/boot # static: it goes into images
	$(TIDY) build/boot/boot -artifacts build/boot/left $(BOOT) build/boot/*.deb

test-boot-all: ## also those boots that are done before a release
	$(MAKE) --no-print-directory test-boot BOOT='-all $(BOOT)' BOOT_TIMES="'45 minutes' '30 minutes'"

test-images: ## do what docs/images.md says and check the images
	@test/preflight $@ '15 minutes' '8 minutes' '1.8 GB in ~/.cache/nm-cloud-seed' $(IMAGES_PACKAGES)
	@$(MAKE) --no-print-directory tidy
	rm -rf build/images && mkdir -p build/images
	$(MAKE) --no-print-directory packages ARCHES=amd64 DIST=build/images
	$(TIDY) $(GO) run ./test/images build/images $(IMAGES)

lint: ## golangci-lint with the project's rules
	$(LINT) run ./...

fuzz: ## each fuzz target for FUZZTIME
	test/fuzz $(FUZZTIME)

bench: build ## compare with cloud-init's crawl and a script: docs/performance.md
	@test/packages needs-demo $(DEMO_PACKAGES)
	@test/packages curl
	mkdir -p docs
	$(GO) run ./test/bench build/nm-cloud-seed nm/dispatcher.d/50-nm-cloud-seed docs/performance.md

needs-demo:
	@test/packages $@ $(DEMO_PACKAGES)

needs-test: tidy # resumable: what is complete stays
	@test/packages $@ $(TEST_PACKAGES)
	@$(TIDY) $(GO) run ./test/debroot/prepare test

needs-boot: tidy
	@test/packages $@ $(BOOT_PACKAGES)
	@$(TIDY) $(GO) run ./test/debroot/prepare boot

needs-images: tidy
	@test/packages $@ $(IMAGES_PACKAGES)
	@$(TIDY) $(GO) run ./test/debroot/prepare images

tidy:
	@$(GO) build -o build/tidy ./test/tidy

clean: ## remove what was built
	rm -rf build dist

clean-cache: ## remove the Debian roots and packages in ~/.cache/nm-cloud-seed
	rm -rf --one-file-system "$${XDG_CACHE_HOME:-$$HOME/.cache}/nm-cloud-seed"
