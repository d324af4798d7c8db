PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# JAX compiles every operation for every shape: what one test has compiled serves the others.
COMPILED := JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.venv-frameworks/compiled JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1

.DEFAULT_GOAL := help
.PHONY: help demo verify test test-frameworks test-pytest8 check lint types fix goldens matrix gallery bench calibrate alarms fuzz clean

help:  ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bncheck needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## Verify a right and a wrong implementation and show the reports
	$(BIN)/bncheck demo

verify: $(STAMP)  ## Verify your own file: make verify TARGET=my_bn.py
	@test -n "$(TARGET)" || { echo "say which file: make verify TARGET=my_bn.py"; exit 2; }
	$(BIN)/bncheck verify $(TARGET)

test: $(STAMP)  ## Run the tests
	$(BIN)/python -m pytest -n auto

test-frameworks: .venv-frameworks/.installed  ## Run the tests that need PyTorch, JAX, Flax or Keras, in an environment of their own
	KERAS_BACKEND=jax .venv-frameworks/bin/python -c 'import flax, jax, keras, torch'
	$(COMPILED) KERAS_BACKEND=jax .venv-frameworks/bin/python -m pytest -n auto -k "torch or jax or flax or keras or framework"

.venv-frameworks/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-frameworks
	.venv-frameworks/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-frameworks/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,torch,jax,keras]'
	@touch $@

test-pytest8: .venv-pytest8/.installed  ## Run the plugin's tests with pytest 8
	.venv-pytest8/bin/python -m pytest -n auto tests/plugin tests/test_project.py

.venv-pytest8/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-pytest8
	.venv-pytest8/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' 'pytest<9'
	@touch $@

check: lint types  ## Lint and type-check

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

fix: $(STAMP)  ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

goldens: $(STAMP)  ## Compute the 50-digit goldens anew and compare them with the stored ones
	$(BIN)/python scripts/make_goldens.py --check

matrix: $(STAMP)  ## Write docs/kill-matrix.md and docs/bugs-in-the-wild.md anew (some minutes)
	$(BIN)/python scripts/make_matrix.py

gallery: $(STAMP)  ## Write docs/gallery and docs/gallery.md anew: what reports look like (needs Chromium)
	$(BIN)/python scripts/make_gallery.py

bench: $(STAMP)  ## Measure start-up, the default verify and long sweeps (half an hour)
	$(BIN)/python benchmarks/speed.py

calibrate: $(STAMP)  ## Count false alarms and misses over many random cases (some 15 minutes)
	$(BIN)/python benchmarks/calibrate.py

alarms: $(STAMP)  ## Count false alarms of all checks on every right fixture (an hour or more)
	$(BIN)/python benchmarks/alarms.py

fuzz: $(STAMP)  ## Fuzz all readers for an hour or so
	BNCHECK_FUZZ=long $(BIN)/python -m pytest tests/fuzz

clean:  ## Remove everything that was made
	rm -rf .venv .venv-frameworks .venv-pytest8 .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
