# Each target makes its own environment in $(VENV) when there is none; see `make help`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready
SITE := build/docs
VERSIONS := 3.11 3.12 3.13
NEWER := 3.13 3.12

export MPLBACKEND ?= Agg

.DEFAULT_GOAL := help
.PHONY: help demo test test-statistical test-versions test-newest test-lowest lint types bench criterion combinations faults \
  reference mutants mutants-random trust interop docs dist clean

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

# The function `find_python 3.12` prints a Python of that version that makes environments, on the PATH or among pyenv's.
define FIND_PYTHON
find_python() { \
  for python in "python$$1" "$$(pyenv root 2>/dev/null)"/versions/"$$1".*/bin/python; do \
    if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then echo "$$python"; return; fi; \
  done; }
endef

$(READY): setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo "No '$(PYTHON)' was found: install Python 3.11 or later, or name one: make PYTHON=/path/to/python3 ..." >&2; \
	  exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON"
	@echo "Making the environment in $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_OPTIONS) -e '.[dev]'
	@touch $@

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(READY) ## train on the bundled digits and show every term, in about a minute
	@$(BIN)/bayes-vae demo

test: $(READY) ## every test and doctest but the long sweeps, on two processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal $(PYTEST_OPTIONS)

test-statistical: $(READY) ## the long statistical sweeps
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m statistical

test-versions: ## the tests on each of Python 3.11, 3.12 and 3.13 that is installed, in .venv-3.11 and so on
	@$(FIND_PYTHON); tested=; failed=; \
	for version in $(VERSIONS); do \
	  python=$$(find_python $$version); \
	  if [ -z "$$python" ]; then echo "Python $$version was not found, and is not tested"; continue; fi; \
	  echo "Python $$version: $$python"; tested="$$tested $$version"; \
	  $(MAKE) --no-print-directory test PYTHON="$$python" VENV=.venv-$$version || failed="$$failed $$version"; \
	done; \
	echo "Tested:$${tested:- nothing}. Failed:$${failed:- nothing}."; [ -n "$$tested" ] && [ -z "$$failed" ]

test-newest: ## the tests that lean on ArviZ, numpy and pandas, on the newest Python that is installed
	@$(FIND_PYTHON); \
	for version in $(NEWER); do \
	  python=$$(find_python $$version); \
	  if [ -z "$$python" ]; then echo "Python $$version was not found"; continue; fi; \
	  echo "Python $$version: $$python"; \
	  exec $(MAKE) --no-print-directory test PYTHON="$$python" VENV=.venv-$$version \
	    PYTEST_OPTIONS='-m "libraries and not statistical"'; \
	done; \
	echo "No Python newer than 3.11 is installed: the tests ran with the libraries of one Python only"

test-lowest: ## the tests with the lowest version of each library that setup.cfg allows, in .venv-lowest
	@$(FIND_PYTHON); python=$$(find_python 3.11); \
	if [ -z "$$python" ]; then echo "Python 3.11 was not found: the lowest versions are tested on it" >&2; exit 1; fi; \
	mkdir -p build && sed -n 's/^    \([a-z0-9-]*\) >= /\1==/p' setup.cfg > build/lowest.txt; \
	$(MAKE) --no-print-directory test PYTHON="$$python" VENV=.venv-lowest PIP_OPTIONS='-c build/lowest.txt'

lint: $(READY) types ## ruff (lint and format) and mypy, without changing a file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy, strict, on the package
	$(BIN)/mypy

criterion: $(READY) ## how often "not converged" is wrong, on the reference pairs; goes on where it stopped
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/importance_criterion.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/annealed_criterion.py

bench: $(READY) ## every script in benchmarks/ but the one below, as tables
	@$(BIN)/python benchmarks/run.py

combinations: $(READY) ## every bundled pair on the digits, side by side (half an hour)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/combinations.py --write docs/combinations_table.md

faults: $(READY) ## trainings with one fault each, and whether the diagnosis names it (hours; resumes)
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m faults.fault_injection --seeds 5..9 --write docs/diagnosis.md
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m faults.wild --seeds 0..2 --write docs/diagnosis.md

reference: $(READY) ## every estimator on pairs whose log p(x) is known (ten minutes)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/reference/values.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/reference/table.py --write docs/reference_table.md

mutants: $(READY) ## each line of tests/mutants.toml broken, to see its test fail (a quarter of an hour; resumes)
	$(BIN)/python tests/mutants.py $(MUTANTS)

mutants-random: $(READY) ## a hundred random lines broken, to see which the tests do not notice (two hours; resumes)
	$(BIN)/python tests/mutants.py --random 100 $(MUTANTS)

trust: $(READY) ## kills, races, harmed and changed files by the thousand; writes the counts to SECURITY.md (twenty minutes)
	PYTHONPATH=tests $(BIN)/python -m trust.record

interop: ## the pages' examples with NumPyro, TensorFlow Probability, Hydra and Optuna, in .venv-interop
	@test -e .venv-interop/.packages || { $(MAKE) --no-print-directory READY=.venv-interop/.ready VENV=.venv-interop \
	  .venv-interop/.ready && .venv-interop/bin/python -m pip install -q --disable-pip-version-check numpyro \
	  tfp-nightly hydra-core optuna && touch .venv-interop/.packages; }
	OMP_NUM_THREADS=1 .venv-interop/bin/python -m pytest -q -n 0 -rs tests/interop

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
