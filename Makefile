# Developer and operator commands by name. Needs Python 3.11 or later, make and git; everything else is installed once
# into .venv from the hashed lock files, so a second run starts immediately.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
CANDIDATES := python3.11 python3.12 python3.13 python3
PYTHON ?= $(shell for each in $(CANDIDATES); do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --require-hashes --only-binary :all:
ARGS ?=
SEEDS ?= 200
EXAMPLES ?= 50
CYCLES ?= 1000
ROUNDS ?= 1
FAULTS ?= all
FAST := not slow and not e2e and not cluster

.PHONY: help run test check lint bench sim schema fuzz sources entities events visitors kill cluster faults kafka pages pictures lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | awk -F '\t' '{ printf "make %-8s %s\n", $$1, $$2 }'

run: $(VENV)/.run ## Airy with simulated contacts on four sources and a bot, and the console
	@$(BIN)/airy up --demo $(ARGS)

test: lint ## everything: lint, types, import contracts, all tests
	$(BIN)/python -m pytest -n auto $(ARGS)

check: lint ## lint and the fast tests, on one event loop and with few examples
	EVENT_LOOPS=asyncio HYPOTHESIS_PROFILE=fast $(BIN)/python -m pytest -n auto -m "$(FAST)" $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## every benchmark in turn, each in its own process
	@set -e; for each in benchmarks/bench_*.py; do echo "== $$each"; $(BIN)/python $$each $(ARGS); done

sim: $(VENV)/.dev ## the system under simulated faults, with SEEDS=200 seeds
	SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/sim/test_simulation.py $(ARGS)

entities: $(VENV)/.dev ## concurrent writes of entities at two API replicas, with SEEDS=200 seeds
	ENTITY_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/sim/test_entity_history.py $(ARGS)

schema: $(VENV)/.dev ## valid and invalid requests from the OpenAPI document, EXAMPLES=50 of each to each operation
	SCHEMA_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n auto tests/http/test_schemathesis.py $(ARGS)

fuzz: $(VENV)/.dev ## mutated webhooks and requests to every source, EXAMPLES=50 of each kind
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n auto tests/sources/test_fuzz.py $(ARGS)

sources: $(VENV)/.dev ## all sources in one process at their simulated providers, with SEEDS=200 seeds
	SOURCE_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/sim/test_sources.py --timeout 0 -k together $(ARGS)

events: $(VENV)/.dev ## clients of events that reconnect through two API replicas, with SEEDS=200 seeds
	EVENT_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/sim/test_event_history.py $(ARGS)

visitors: $(VENV)/.dev ## visitors of a chat plugin and thieves of their tokens at two API replicas, with SEEDS=200 seeds
	VISITOR_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/sim/test_visitor_history.py $(ARGS)

kill: $(VENV)/.dev ## kill and restart a real process, CYCLES=1000 times, and check that nothing was lost
	CYCLES=$(CYCLES) $(BIN)/python -m pytest tests/e2e/test_kill.py $(ARGS)

kafka: $(VENV)/.dev ## a real Kafka broker on this machine until Ctrl-C, ARGS="--brokers 3" for three
	@$(BIN)/python -m tests.kit.servers.kafka $(ARGS)

cluster: $(VENV)/.dev ## Airy as a fleet: Kafka, Redis, two processes of every component, and the demonstration
	@$(BIN)/python -m tests.kit.cluster $(ARGS)

faults: $(VENV)/.dev ## inject faults into a real cluster under load; FAULTS=zombie,kill-redis selects, ROUNDS=5 repeats
	FAULTS=$(FAULTS) ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -s tests/e2e/test_cluster_faults.py $(ARGS)

pages: $(VENV)/.dev ## write what docs/ has from code: tables of sources, commands and schemas of the command line
	$(BIN)/python -m tests.kit.source_pages
	$(BIN)/python -m tests.kit.view_schemas
	$(BIN)/python -m tests.kit.command_page

pictures: $(VENV)/.dev ## draw the pictures of the console in docs/pictures, and the snapshots of its tests
	$(BIN)/python -m tests.kit.console_pictures

lock: $(VENV)/.dev ## resolve the lock files again, after a change to pyproject.toml
	$(PIP) install --quiet uv
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) pyproject.toml --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	echo hatchling | $(LOCK) - --constraint requirements-dev.lock --output-file requirements-build.lock

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url

clean: ## remove build results, installed packages and caches; data in .airy stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.run: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) …"
	@$(INSTALL) -r requirements.lock -r requirements-build.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@echo "installing development dependencies into $(VENV) …"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
		echo "Airy needs Python 3.11 or later; install it, or name an interpreter: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot create a virtual environment; on Debian and Ubuntu: apt-get install $(PYTHON)-venv" >&2; exit 1; }
