# Every task of this repository; `make help` lists them. Only Python >= 3.11, git and make have to be there.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
PORT ?= 8000
ADMIN_PORT ?= 9090
IMAGE ?= moorage:dev
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

##@ Use
.PHONY: run
run: .venv/.run ## Serve examples/quickstart on http://127.0.0.1:$(PORT)/mcp
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/quickstart/run $(PORT) $(ADMIN_PORT)

.PHONY: test
test: .venv/.dev ## Run every test that needs no cluster
	$(BIN)/python -m tests

##@ Develop
.PHONY: lint
lint: .venv/.dev ## ruff, pyright, import contracts, starts of tasks, chart and Dockerfile linters, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.lint_tasks
	$(BIN)/python -m scripts.generate --check
	$(BIN)/python -m scripts.lint_chart

.PHONY: format
format: .venv/.dev ## Format the source
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: generate
generate: .venv/.dev ## Write every generated file: settings reference, chart schema and docs, k8s/base
	$(BIN)/python -m scripts.generate

.PHONY: lock
lock: .venv/.dev ## Resolve the dependencies again and pin them by hash
	$(BIN)/python -m scripts.lock

##@ Prove
.PHONY: conformance
conformance: .venv/.dev ## Run the official MCP conformance suite against this server
	$(BIN)/python -m tests.conformance

.PHONY: chaos
chaos: .venv/.dev ## Break replicas, store and network under recorded load; CHAOS=--short is the form of .ci/run
	$(BIN)/python -m tests.chaos $(CHAOS)

.PHONY: clients
clients: .venv/.dev .venv-clients/.ready ## Drive the Python and TypeScript SDKs' own clients against replicas behind a round robin
	$(BIN)/python -m tests.clients

.PHONY: bench
bench: .venv/.dev .venv-bench/.ready ## Measure against the bare SDK and FastMCP; writes docs/benchmarks*.md
	$(BIN)/python -m bench
	$(BIN)/python -m bench.sessions

.PHONY: image
image: .venv/.dev ## Build the container image as $(IMAGE)
	$(BIN)/python -m scripts.image $(IMAGE)

.PHONY: test-cluster
test-cluster: .venv/.dev ## Install the chart into a real cluster and prove it there
	$(BIN)/python -m tests.cluster

##@ Housekeeping
.PHONY: setup
setup: .venv/.dev ## Create the development environment

.PHONY: clean
clean: ## Remove the environments and everything that was built
	rm -rf .venv .venv-bench .venv-clients .cache dist

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "moorage needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.13" >&2; exit 1; }
	@echo "creating .venv" >&2
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.run: .venv/.python requirements/run.txt requirements/build.txt pyproject.toml
	@echo "installing the locked dependencies" >&2
	@$(PIP) -r requirements/run.txt -r requirements/build.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.run requirements/dev.txt
	@echo "installing the locked development dependencies" >&2
	@$(PIP) -r requirements/dev.txt
	@touch $@

.venv-bench/.ready: requirements/bench.txt
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

.venv-clients/.ready: requirements/clients.txt
	@$(PYTHON) -m venv .venv-clients
	@.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/clients.txt
	@touch $@
