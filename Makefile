# Each target makes its own environment in $(VENV) when there is none; see `make help`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready
SITE := build/docs

export MPLBACKEND ?= Agg

.DEFAULT_GOAL := help
.PHONY: help demo test test-statistical lint types bench combinations faults docs dist clean

define CHECK_PYTHON
import sys
if sys.version_info < (3, 11):
    sys.exit("bayes_vae needs Python 3.11 or later, and this is %s (%s).\n"
             "Name another one: make PYTHON=python3.12 ..." % (sys.version.split()[0], sys.executable))
try:
    import ensurepip, venv
except ImportError as error:
    sys.exit("%s has no module %r, which makes environments.\n"
             "Install it (on Debian and Ubuntu: apt install python%d.%d-venv), then run make again."
             % ((sys.executable, error.name) + sys.version_info[:2]))
endef
export CHECK_PYTHON

$(READY): setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "No '$(PYTHON)' was found: install Python 3.11 or later, or name one: make PYTHON=/path/to/python3 ..." >&2; \
	  exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON"
	@echo "Making the environment in $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(READY) ## train on the bundled digits and show every term, in about a minute
	@$(BIN)/bayes-vae demo

test: $(READY) ## every test and doctest but the long sweeps, on two processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2

test-statistical: $(READY) ## the long statistical sweeps
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m statistical

lint: $(READY) types ## ruff (lint and format) and mypy, without changing a file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy, strict, on the package
	$(BIN)/mypy

bench: $(READY) ## every script in benchmarks/ but the one below, as tables
	@$(BIN)/python benchmarks/run.py

combinations: $(READY) ## every bundled pair on the digits, side by side (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/combinations.py --write docs/combinations_table.md

faults: $(READY) ## trainings with one fault each, and whether the diagnosis names it (a quarter of an hour)
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m faults.fault_injection --seeds 5..9 --write docs/diagnosis.md

dist: $(READY) ## sdist and wheel of the tagged version, in dist/
	@$(BIN)/python release.py

$(DOCS_READY): $(READY)
	@echo "Installing what builds the documentation"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[docs]'
	@touch $@

docs: $(DOCS_READY) ## the documentation, with its notebooks executed, as build/docs/index.html; warnings are errors
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -j 2 -W --keep-going -b html -d build/doctrees docs $(SITE)
	BAYES_VAE_SITE=$(SITE) $(BIN)/python -m pytest -q -n 0 tests/docs/test_docs_site.py
	@echo "Open $(SITE)/index.html"

clean: ## remove build outputs and caches (not the environment, not runs/)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* htmlcov
	find bayes_vae/ models guides experiments benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +
