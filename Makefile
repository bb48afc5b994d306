# The project's commands. Needed beforehand: make, Python 3.11 or newer, and pip's package index.

# The first Python that is new enough and can make environments; override with `make PYTHON=...`.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
	done)
BIN := .venv/bin
LOWEST := .venv-lowest/bin
PHOENIX := arize-phoenix==20.26.1
BENCHMARKS := imports spine parallel against_by_hand recording
COMPILE = $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	--no-emit-find-links --quiet $(UPGRADE)
PROJECT := pyproject.toml --all-extras
PIP := -m pip --disable-pip-version-check --no-input install -qq
# A program from Debian, where we may install it; elsewhere it must be there, or the tests that need it are skipped.
DEBIAN = command -v $(1) >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "installing $(1) ..." && \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; } || \
	echo "$(1) is not on this machine and could not be installed: the tests that need it are skipped." >&2
NOT_HERE := not services and not soak and not browser

export PYRIGHT_PYTHON_GLOBAL_NODE = 0
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1

.DEFAULT_GOAL := help
.PHONY: help setup setup-services demo dashboard chat test check soak test-services test-browser test-phoenix test-lowest bench bench-records simulate coverage dist lock clean

help: ## shows this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 16

setup: .venv/.setup ## makes .venv with everything in it, unless it is up to date

.venv/.setup: requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with its venv module is needed; none was found." >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@echo "installing the locked versions into .venv ..."
	@$(BIN)/python $(PIP) --require-hashes -r requirements/dev.txt
	@$(BIN)/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

setup-services: .venv/.services

.venv/.services: .venv/.setup requirements/services.txt
	@$(BIN)/python $(PIP) --require-hashes -r requirements/services.txt
	@$(call DEBIAN,prometheus)
	@touch $@

.venv/.browser: .venv/.setup
	@$(call DEBIAN,chromium)
	@touch $@

demo: setup ## shows the shop: four patterns, parallel tools, hostile calls, a lost payment, a table
	@$(BIN)/python -m examples.shop.demo

dashboard: setup ## opens the dashboard of what the demo ran
	@$(BIN)/toolrail dashboard --store sqlite:///.demo/rail.db

chat: setup ## asks the shop's agent your own questions
	@$(BIN)/python -m examples.shop.chat

test: setup ## all checks and tests that need no server
	@rm -f .promises.json
	@$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -q -m "$(NOT_HERE)"

check: setup ## style, layers and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright --project pyproject.toml

test-services: setup-services ## the tests on a real PostgreSQL and a real Prometheus
	$(BIN)/python -m pytest -q -m services

test-browser: .venv/.browser ## the dashboard in Chromium
	$(BIN)/python -m pytest -q -m browser

test-phoenix: .venv-phoenix/.setup ## OpenTelemetry against a real Arize Phoenix (600 MB, in .venv-phoenix)
	$(BIN)/python -m pytest -q -m services tests/records/test_otel_phoenix.py

.venv-phoenix/.setup: .venv/.setup
	@$(PYTHON) -m venv --clear .venv-phoenix
	@.venv-phoenix/bin/python $(PIP) "$(PHOENIX)" jsonschema-rs griffelib
	@touch $@

soak: setup ## a million calls with faults: what must stay flat stays flat; SECONDS=60 for a part of it
	TOOLRAIL_SOAK_SECONDS=$(or $(SECONDS),3600) $(BIN)/python -m pytest -q -s -m soak -o faulthandler_timeout=3000 tests/soak

test-lowest: .venv-lowest/.setup ## the tests with the lowest versions that we say will do
	$(LOWEST)/python -m pytest -q -m "$(NOT_HERE)" -p no:cacheprovider

.venv-lowest/.setup: requirements/lowest.txt pyproject.toml
	@$(PYTHON) -m venv --clear .venv-lowest
	@$(LOWEST)/python $(PIP) --require-hashes -r requirements/lowest.txt
	@$(LOWEST)/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

bench: setup ## measures; exit 1 if a bound was missed
	@status=0; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || status=1; done; exit $$status

bench-records: setup ## reading telemetry of a million calls, two minutes; N=100000 for fewer
	$(BIN)/python -m benchmarks.records $(N)

simulate: setup ## many random runs of everything, with faults and crashes: SEEDS=2000, or SEED=7 for one in detail
	@$(if $(SEED),$(BIN)/python -m tests.simulation --seed $(SEED) -v,$(BIN)/python -m tests.simulation \
		--seeds 0..$(or $(SEEDS),2000) --processes 2)
	@$(if $(SEED),:,$(BIN)/python -m tests.injection)

coverage: setup ## which branches the tests do not reach
	$(BIN)/python -m pytest -q -m "$(NOT_HERE)" --cov --cov-report=term-missing

dist: setup ## the wheel and the source archive
	$(BIN)/python -m build --no-isolation

lock: setup ## writes requirements/*.txt from pyproject.toml; UPGRADE=--upgrade takes the newest versions
	$(COMPILE) $(PROJECT) --group dev --output-file requirements/dev.txt
	$(COMPILE) --group services --constraints requirements/dev.txt --output-file requirements/services.txt
	$(COMPILE) $(PROJECT) --group test --resolution lowest-direct --output-file requirements/lowest.txt

clean: ## removes what the commands above made
	rm -rf .venv .venv-lowest .venv-phoenix .demo .promises.json .pytest_cache .ruff_cache .hypothesis .coverage build dist
