# The one runner: people and CI call the same targets. `make help` prints itself.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Two cores are enough for all of it; more are used where they are.
GO      ?= go
PACKAGES = ./...
FUZZTIME ?= 5s
LDFLAGS = -s -w

.PHONY: help
help: ## Print this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: dev
dev: build ## Run Cambio with everything it needs, on this machine, with no cloud account
	bin/cambio dev

.PHONY: build
build: ## Build bin/cambio
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/cambio ./cmd/cambio

.PHONY: agent
agent: ## Build bin/cambio-agent, the workload's side
	cd clients/go && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o ../../bin/cambio-agent ./cmd/cambio-agent

.PHONY: test
test: postgres openbao ## All tests, race detector on; installs or finds PostgreSQL and OpenBao first
	deploy/test/test.sh $(PACKAGES)

.PHONY: fuzz
fuzz: ## Each fuzz target for FUZZTIME (default 5s)
	deploy/test/fuzz.sh $(FUZZTIME)

.PHONY: test-api
test-api: ## Schemathesis over the OpenAPI document of a running server, with and without a token
	deploy/test/api.sh

.PHONY: lint
lint: ## gofmt, vet, staticcheck, buf, go.mod, shell, forbidden words and skips
	deploy/test/lint.sh

.PHONY: generate
generate: ## Regenerate protobuf, SQL and schema code
	deploy/test/generate.sh

.PHONY: check-generated
check-generated: generate ## Fail if generated code is not current
	git diff --exit-code -- proto store docs
	test -z "$$(git status --porcelain -- proto store docs)"

.PHONY: bench
bench: postgres ## The floor and the exchange beside it, on PostgreSQL; writes bench/latest.txt
	$(GO) run ./bench

.PHONY: bench-providers
bench-providers: postgres ## Ten thousand callers of one credential, a provider's outage and its throttling
	$(GO) run ./bench providers

.PHONY: bench-agent
bench-agent: ## The agent's size, start, memory and proxy, and what a held credential costs in each client
	$(GO) run ./bench agent

.PHONY: bench-audit
bench-audit: postgres ## Pages and 30-day summaries on AUDIT_EXCHANGES (10,000,000); BENCH_AUDIT_KEEP=dir keeps them
	$(GO) run ./bench audit $(AUDIT_EXCHANGES)

.PHONY: test-cluster
test-cluster: ## Verify against a real kube-apiserver and etcd (built once, then cached)
	deploy/testcluster/run.sh

.PHONY: test-clients
test-clients: ## The vendors' own clients, Python and Go, with what is vended; lists them in docs/clients.md
	deploy/testclients/run.sh

.PHONY: test-mcp
test-mcp: ## MCP servers and clients of the official SDKs, and MCP's conformance suite (docs/conformance.md)
	deploy/testmcp/run.sh

.PHONY: test-go-client
test-go-client: ## The Go client, its adapters and the agent, race detector on
	MODULE=clients/go deploy/test/test.sh

.PHONY: test-python
test-python: ## The Python client: its tests on every Python at hand, ruff, pyright, and its wheel
	clients/python/test.sh

.PHONY: test-workloads
test-workloads: ## Workloads with the clients, the agent and the vendors' SDKs, newest and oldest, against cambio dev
	deploy/testworkloads/run.sh

.PHONY: test-properties
test-properties: ## A million random sequences of exchanges, none of which may widen anything
	GOGC=400 $(GO) test -tags slow -count=1 -v -timeout 30m ./deploy/testproperties/

.PHONY: test-crash
test-crash: postgres ## kill -9 of the server and of PostgreSQL under load; counts what survived
	$(GO) run ./bench crash

.PHONY: postgres
postgres: ## Find PostgreSQL, or install it (as root by package, else unpacked into .cache)
	@store/postgres/pgtest/install.sh

.PHONY: openbao
openbao: ## Find OpenBao, or unpack it under the user's cache (75 MB, once)
	@exchange/provider/vault/baotest/install.sh
