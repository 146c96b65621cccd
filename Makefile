# Gatehouse. `make help` lists the targets.
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
LISTEN ?= 127.0.0.1:4180
DATA ?= ./.gatehouse
FUZZTIME ?= 20s
SDK := gatehousetest/sdk/node

.PHONY: help run build test bench bench-side bench-keys bench-start soak chart lint fmt cover fuzz sdk

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*## "} {printf "  make %-11s %s\n", $$1, $$2}'

run: build ## Build Gatehouse and start it with everything embedded (LISTEN=, DATA=)
	./bin/gatehouse dev --listen $(LISTEN) --data $(DATA)

build: ## Build one static binary: bin/gatehouse
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/gatehouse ./cmd/gatehouse

# Race detection needs a C compiler; without one the tests run without it. SQLite is C that was translated into Go: watching each of its
# accesses to memory takes tests of the store ten times as long, and it is not our code that is watched there.
RACE := $(shell command -v cc >/dev/null 2>&1 && echo -race '-gcflags=modernc.org/...=-race=false')

test: sdk ## Run every check and test; says what was left out and how to include it
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory build
	@.ci/missing
	$(GO) test $(RACE) -timeout 25m ./...

sdk: ## Install the official npm clients that the tests drive Gatehouse with
	@if ! command -v npm >/dev/null 2>&1; then exit 0; fi; \
	if [ ! -d $(SDK)/node_modules/openai ] || [ ! -d $(SDK)/node_modules/hyparquet ]; then cd $(SDK) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; fi

bench: ## Run the micro-benchmarks with allocations
	$(GO) test -run '^$$' -bench . -benchmem $(BENCH) ./internal/... ./cmd/...

soak: ## Run Gatehouse for 20 minutes under everything that happens in a day (SOAK="-duration 60s -warm 20s -clock 72m" to try it)
	$(GO) run ./gatehousetest/soak $(SOAK)

chart: ## Render and lint the Helm chart with Helm's own code, in a module of its own
	cd deploy/helm/test && $(GO) test ./...

bench-side: build ## Measure beside nginx on this machine: CPU per request and chunk, memory per stream (bench/README.md)
	@command -v nginx >/dev/null 2>&1 || { echo "nginx is not installed, and without it there is nothing to compare with (Debian: apt-get install nginx-light)"; exit 1; }
	$(GO) run ./bench side $(BENCH)

bench-keys: ## Measure how a million keys load
	$(GO) run ./bench keys $(BENCH)

bench-start: build ## Measure start, idle memory and size of the binary
	$(GO) run ./bench start $(BENCH)

lint: ## gofmt, go vet and staticcheck, all silent
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt wants to change:"; echo "$$out"; echo "run: make fmt"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

fmt: ## Format the code
	gofmt -w $$(git ls-files '*.go')

cover: ## Test coverage by function in coverage.out
	$(GO) test -coverprofile=coverage.out -coverpkg=./... ./... && $(GO) tool cover -func=coverage.out | tail -1

fuzz: ## Run each fuzz target for FUZZTIME (default 20s)
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg 2>/dev/null | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done
