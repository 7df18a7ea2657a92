# Holdfast. The two that matter to a newcomer: make demo, make test.
# Each sets up what it lacks under the user's own directories, without root.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# grpcnotrace keeps the linker able to drop unused methods; see docs/dependencies.md.
BUILD   := $(GO) build -trimpath -tags grpcnotrace -ldflags "$(LDFLAGS)"

# The engines that the demonstration and the tests run on.
DEMO_ENGINES := valkey-8.1
TEST_ENGINES := redis-6.0 redis-7.0 redis-8.0 valkey-8.1 valkey-9.1 memcached-1.6.18 memcached-1.6.38

# How many primaries the benchmark of the failover loses in each circumstance.
KILLS ?= 100

.PHONY: demo test chaos lint bench bench-mover bench-service generate check-generated build engines help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

build: ## build bin/holdfast
	@mkdir -p bin
	$(BUILD) -o bin/holdfast ./cmd/holdfast

demo: build ## a cache moves to another region by snapshot, on real engines (EXIT=1 leaves at once)
	@scripts/engines install $(DEMO_ENGINES)
	@bin/holdfast demo $(if $(EXIT),--exit)

test: engines ## every test, on real engines
	@scripts/test

engines:
	@scripts/engines install $(TEST_ENGINES)

chaos: engines ## break groups under load and check what clients saw (MINUTES=60 SEED=1000 TOPOLOGY= EPISODES= FAULTS=)
	$(GO) test ./e2e/chaos -run TestChaos -count=1 -v -timeout 0 -args -minutes $(or $(MINUTES),0) $(if $(SEED),-seed $(SEED)) \
		$(if $(TOPOLOGY),-topology $(TOPOLOGY)) $(if $(EPISODES),-episodes $(EPISODES)) $(if $(FAULTS),-faults $(FAULTS)) -shrink

lint: ## golangci-lint and formatting
	@scripts/lint

bench: build engines ## benchmarks, ours beside the engines' own, printed as ratios
	$(GO) run ./bench
	$(GO) run ./bench service --kills $(KILLS)

bench-service: build engines ## failover, endpoints and monitoring alone (KILLS=20 for fewer losses)
	$(GO) run ./bench service --kills $(KILLS)

bench-mover: build engines ## the mover's flows beside the limits of the engines, and what they have to reach
	$(GO) run ./bench mover

generate: ## write generated files again
	$(GO) generate ./...

check-generated: generate
	@git diff --exit-code -- '*zz_generated*' || { echo 'generated files are out of date: run make generate and commit' >&2; exit 1; }
