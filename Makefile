# The commands of every day. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test check race fuzz bench build image lint generate

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## run everything against an AWS inside the process: needs nothing but Go
	go run ./cmd/collector demo

test: ## all tests; needs nothing but Go
	go test ./...

check: ## what a change must pass first: format, tidy, build, vet, lint, test
	@.ci/run format tidy build vet lint test

race: ## all tests with the race detector; needs a C compiler
	@.ci/run race

lint: ## vet and staticcheck; what is checked is in staticcheck.conf
	@.ci/run vet lint

fuzz: ## every fuzz target for FUZZ_TIME (default 5s) each
	@.ci/run fuzz

bench: ## the benchmarks, beside those of BASE (default: the last tag, else the parent commit)
	@.ci/run bench

generate: ## the generated files anew
	go generate ./...

build: ## ./collector, static, as it is released
	CGO_ENABLED=0 go build -trimpath -tags timetzdata -ldflags "$(LDFLAGS)" -o collector ./cmd/collector

image: ## the container image, collector:VERSION
	docker build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
	  --build-arg CREATED=$(shell date -u +%Y-%m-%dT%H:%M:%SZ) -t collector:$(VERSION) -t collector:latest .
