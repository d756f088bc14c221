# Two commands do everything from nothing: `make gate` and `make test`.

PYTHON ?= python3
# What `make gate` compares with: the commit itself, or e.g. BASE=origin/main.
BASE ?= HEAD
# How long `make fuzz` looks at each reader.
MINUTES ?= 10
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Suites are started hundreds of times; what they import is compiled once.
export PYTHONDONTWRITEBYTECODE :=
# Reports of the gate's own tests must not mix with those of a developer.
export PATH := $(CURDIR)/$(BIN):$(PATH)


.PHONY: install gate test test-long check unit suites baseline report calibration bench fuzz lock golden clean help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(STAMP) ## set up the environment

gate: $(STAMP) ## run all suites, compare with the baseline, print the verdict
	gate run
	gate check --base $(BASE)

test: $(STAMP) check unit suites ## run everything that must pass before a change lands

check: $(STAMP)
	ruff format --check .
	ruff check .
	basedpyright
	lint-imports

unit: $(STAMP)
	pytest tests/gate -n 2 --dist worksteal -m "not long"

test-long: $(STAMP) ## run the tests that take long: each night and before a release
	pytest tests/gate -n 2 --dist worksteal -m long

suites: $(STAMP)
	pytest tests/agents tests/load tests/performance tests/integration -q -n 2 --dist worksteal

baseline: $(STAMP) ## run all suites and accept the result
	gate run
	gate baseline update

report: $(STAMP) ## write the baseline report of the last run
	gate report -o docs/baseline-report.md

calibration: $(STAMP) ## measure how far the gate can be trusted, an hour at a time; goes on where it stopped
	python -m tests.gate.calibration histories
	python -m tests.gate.calibration machine 60
	python -m tests.gate.calibration page

bench: $(STAMP) ## a year of accepted runs: size of the memory, time of an update and a check
	python -m tests.gate.bench

fuzz: $(STAMP) ## look for files that a reader cannot bear, MINUTES=10 for each of the five readers
	@failed=0; for reader in report baseline policy units verdict; do \
		python -m tests.gate.fuzz $$reader $(MINUTES) || failed=1; \
	done; exit $$failed

lock: $(STAMP) ## lock the dependencies anew
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate pyproject.toml --extra service --group dev -o requirements.lock

golden: $(STAMP) ## renew golden files and published schemas after a wanted change; read the diff
	GATE_RENEW_GOLDEN=1 pytest tests/gate -q -k "golden or schema or terminal or typical_comments"

clean: ## remove everything that was generated
	rm -rf $(VENV) .gate dist

$(STAMP): requirements.lock pyproject.toml
	@echo "installing the locked dependencies into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar on --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
