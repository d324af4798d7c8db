PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# JAX compiles every operation for every shape: what one test has compiled serves the others.
COMPILED := JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.venv-frameworks/compiled JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1

# The tests that need PyTorch, JAX, Flax or Keras, by their names.
FRAMEWORKS := "torch or jax or flax or keras or framework"

.DEFAULT_GOAL := help
.PHONY: help demo verify test test-fast test-processes coverage test-frameworks test-pytest8 check lint types fix docs reference examples goldens matrix gallery bench bench-gpu power calibrate alarms fuzz release clean

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

# Tests that start processes and wait for them: children that hang or die, clusters, runs of pytest, commands, examples, writing of files.
PROCESSES := $(addprefix tests/,executors plugin adapters/test_exec_program.py reporters/test_destination.py $(patsubst %,test_%.py,cli contributing docs journal project sweep))

test: $(STAMP)  ## Run the tests, but for those of other processes
	$(BIN)/python -m pytest -n auto --dist worksteal $(addprefix --ignore=,$(PROCESSES))

test-processes: $(STAMP)  ## Run the tests that start other processes and wait for them (some minutes)
	$(BIN)/python -m pytest -n auto --dist worksteal $(PROCESSES)

# Numerics, checks, laws, bugs, verdicts: all that starts no other process.
FAST := core experiments cases checks pages bugs/test_bugs.py $(patsubst %,test_%.py,api calibration codec compact floors guard job location reference_docs releases settings tally verdict)

test-fast: $(STAMP)  ## Run the tests of the numerics (under a minute)
	$(BIN)/python -m pytest -n auto --dist worksteal $(addprefix tests/,$(FAST))

coverage: $(STAMP) .venv-frameworks/.installed  ## Run all tests under coverage.py, in all processes, and show the branches that none takes (half an hour)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n auto --dist worksteal
	$(COMPILED) KERAS_BACKEND=jax .venv-frameworks/bin/python -m coverage run -m pytest -n auto -k $(FRAMEWORKS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

test-frameworks: .venv-frameworks/.installed  ## Run the tests that need PyTorch, JAX, Flax or Keras, in an environment of their own
	KERAS_BACKEND=jax .venv-frameworks/bin/python -c 'import flax, jax, keras, torch'
	$(COMPILED) KERAS_BACKEND=jax .venv-frameworks/bin/python -m pytest -n auto -k $(FRAMEWORKS)

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

docs: .venv-docs/.installed  ## Build the documentation's site in site/: links are checked, and that no page asks a host
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build
	.venv-docs/bin/python -m pytest -m site tests/test_docs.py

.venv-docs/.installed: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

reference: $(STAMP)  ## Write docs/reference anew, from checks, bugs, options and types
	$(BIN)/python scripts/make_reference.py

examples: $(STAMP)  ## Run the documentation's examples, and write what they print into its pages
	$(BIN)/python scripts/doc_examples.py

goldens: $(STAMP)  ## Compute the 50-digit goldens anew and compare them with the stored ones
	$(BIN)/python scripts/make_goldens.py --check

matrix: $(STAMP)  ## Write docs/kill-matrix.md and docs/bugs-in-the-wild.md anew (some minutes)
	$(BIN)/python scripts/make_matrix.py

gallery: $(STAMP)  ## Write docs/gallery and docs/gallery.md anew: what reports look like (needs Chromium)
	$(BIN)/python scripts/make_gallery.py

bench: .venv-frameworks/.bench  ## Measure costs beside other checkers, start-up and long sweeps (over an hour; the machine idle)
	.venv-frameworks/bin/python benchmarks/bench.py $(SECTIONS)

bench-gpu: .venv-frameworks/.bench  ## Measure a torch target on a GPU, where there is one
	.venv-frameworks/bin/python benchmarks/gpu.py

power: $(STAMP)  ## Plant errors of all sizes, and write docs/power.md: how large one has to be to be seen (ten minutes)
	$(BIN)/python benchmarks/power.py

calibrate: .venv-frameworks/.bench  ## Count false alarms in a million cases, and error over error bar (an hour; goes on where it stopped)
	.venv-frameworks/bin/python benchmarks/calibrate.py
	.venv-frameworks/bin/python benchmarks/calibrate.py --write

.venv-frameworks/.bench: .venv-frameworks/.installed
	.venv-frameworks/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

alarms: $(STAMP)  ## Count false alarms of all checks on every right fixture (an hour or more)
	$(BIN)/python benchmarks/alarms.py

fuzz: $(STAMP)  ## Fuzz all readers for an hour or so
	BNCHECK_FUZZ=long $(BIN)/python -m pytest tests/fuzz

release: $(VENV)/.release  ## Build dist/, and test it with the oldest and newest libraries on each Python (some minutes, network)
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	BNCHECK_RELEASE=dist $(BIN)/python -m pytest tests/release

$(VENV)/.release: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,release]'
	@touch $@

clean:  ## Remove everything that was made
	rm -rf .venv .venv-docs .venv-frameworks .venv-pytest8 .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build site
