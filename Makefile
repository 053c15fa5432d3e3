# make help shows what there is.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GO      ?= go
LINT     = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
PARALLEL = 8 # lab tests mostly wait
FUZZTIME ?= 10s

.PHONY: help build demo test test-user lint fuzz bench packages-demo packages-test clean

help: ## show this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

build: ## build build/nm-cloud-seed, static and stripped
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o build/nm-cloud-seed ./cmd/nm-cloud-seed

demo: packages-demo build ## show the main job in a lab: real NetworkManager and dnsmasq, simulated virtual router
	$(GO) run ./test/lab/demo build/nm-cloud-seed

test: packages-test ## unit, fake NetworkManager and lab tests, with the race detector
	$(GO) vet ./...
	$(GO) test -race -parallel $(PARALLEL) ./...

# As root, the lab's other half: with user namespaces, as an ordinary user has it.
test-user: packages-test ## the lab tests as an ordinary user (run by root: as nobody)
	test/as-user $(PARALLEL)

lint: ## golangci-lint with the project's rules
	$(LINT) run ./...

fuzz: ## each fuzz target for FUZZTIME
	test/fuzz $(FUZZTIME)

bench: build ## compare with cloud-init's crawl and a script: docs/performance.md
	@test/packages network-manager dbus dnsmasq-base iproute2 curl mmdebstrap
	mkdir -p docs
	$(GO) run ./test/bench build/nm-cloud-seed docs/performance.md

packages-demo:
	@test/packages network-manager dbus dnsmasq-base iproute2

packages-test:
	@test/packages network-manager dbus dnsmasq-base iproute2 mmdebstrap python3-yaml gcc libc6-dev

clean: ## remove what was built
	rm -rf build dist
