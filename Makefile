# Common commands. `make` without arguments lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test check race fuzz bench build image lint generate

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE     ?= $(shell TZ=UTC0 git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION) -X main.date=$(DATE)

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## run everything against a fake AWS in the process; needs only Go
	go run ./cmd/collector demo

test: ## run all tests; needs only Go
	go test ./...

check: ## check a change before review: format, tidy, build, vet, lint, test
	@.ci/run format tidy build vet lint test

race: ## run all tests with the race detector; needs a C compiler
	@.ci/run race

lint: ## run vet and staticcheck; staticcheck.conf configures the checks
	@.ci/run vet lint

fuzz: ## run every fuzz target for FUZZ_TIME (default 5s)
	@.ci/run fuzz

bench: ## run the benchmarks and compare with BASE (default: the last tag, else the parent commit)
	@.ci/run bench

generate: ## regenerate the generated files
	go generate ./...

build: ## build ./collector, static, like a release
	CGO_ENABLED=0 go build -trimpath -tags timetzdata -ldflags "$(LDFLAGS)" -o collector ./cmd/collector

image: ## build the container image, collector:VERSION; GO_IMAGE names the image to build in
	docker build $(if $(GO_IMAGE),--build-arg GO_IMAGE=$(GO_IMAGE)) --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg DATE=$(DATE) \
	  --build-arg CREATED=$(shell date -u +%Y-%m-%dT%H:%M:%SZ) -t collector:$(VERSION) -t collector:latest .
