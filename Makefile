# The programs land in bin/. `make up` shows them at work, `make test` (as root) proves them.

SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c

# Everything is built without cgo; one setting keeps one build cache.
export CGO_ENABLED := 0

HELPER := $(wildcard helper/lxd-lxc/*.c helper/lxd-lxc/*.h)

.PHONY: build check lint fmt gen unit race test bench coverage up down deps clean

# build makes the static Go programs and, with liblxc, the container helper.
build: $(if $(HELPER),bin/lxd-lxc)
	$(if $(wildcard cmd/*),go build -trimpath -ldflags "-s -w" -o bin/ ./cmd/...)

bin/lxd-lxc: $(HELPER) Makefile
	@mkdir -p bin
	gcc -std=gnu17 -O2 -Wall -Wextra -Werror -rdynamic -fvisibility=hidden -o $@ $(filter %.c,$^) $$(pkg-config --cflags lxc) -ldl

# check needs neither root nor network, and takes less than three minutes.
check: lint unit

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "not formatted, run \`make fmt\`:" $$unformatted; exit 1; }
	go run ./scripts/gen -check
	go run ./scripts/docs -check
	go vet ./...
	go vet -tags system ./...
	go tool staticcheck -tags system ./...

# unit also runs internal/arch, the tests of the code itself.
unit:
	go test -short -json ./... 2>&1 | go run ./scripts/testsum

race:
	CGO_ENABLED=1 go test -race -short ./...

# test runs everything, as root.
test:
	scripts/deps --test
	$(MAKE) build lint
	scripts/test

bench: build
	scripts/deps --test
	go run ./scripts/bench -bin bin $(BENCHFLAGS)

coverage: build
	go run ./scripts/coverage

# up installs, builds, starts and launches by itself, some of it side by side.
up:
	scripts/up

down:
	scripts/down

deps:
	scripts/deps

gen:
	go run ./scripts/gen
	go run ./scripts/docs

fmt:
	gofmt -w $$(git ls-files '*.go')

clean:
	rm -rf bin
