# Every target sets up what it needs from nothing but Python 3.10 to 3.13 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# CI and laptops may share a machine with others: xdist workers follow the cores, not a number written here.
PYTEST_WORKERS ?= auto
PYTEST_ARGS ?=

.DEFAULT_GOAL := quickstart
.PHONY: help quickstart test slow-test cluster-test cluster-test-all cluster-downloads soak mutants peers lint types format docs dev clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

quickstart: $(VENV)/.run ## segment the photographs in configs/photos/, and write a report of it
	$(BIN)/bulkinfer run configs/quickstart.yaml --report

# The suite runs on the built wheel, from a folder whose own transforms/ and pipelines/ would break whatever imported
# them: so a module that the wheel lacks, or an import by a bare name, fails here and not at a user's.
TESTS = not cluster and not slow
test: $(VENV)/.test ## the tests, on the built wheel
	rm -rf build/wheel build/decoy build/lib build/bdist.*
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --no-deps --target build/wheel/site build/wheel/*.whl
	mkdir -p build/decoy/transforms build/decoy/pipelines
	echo 'raise ImportError("a decoy was imported")' | tee build/decoy/transforms/__init__.py > build/decoy/pipelines/__init__.py
	cd build/decoy && PYTHONPATH=$(CURDIR)/build/wheel/site $(abspath $(BIN))/python -m pytest -c $(CURDIR)/pyproject.toml \
		--rootdir $(CURDIR) -m "$(TESTS)" -n $(PYTEST_WORKERS) $(PYTEST_ARGS) $(CURDIR)/tests

# Longer and further cases of what the tests above show.
slow-test: ## the tests that `make test` leaves out for their time
	$(MAKE) test TESTS=slow

CLUSTER_TEST = $(BIN)/python -m pytest -p no:xdist $(PYTEST_ARGS) tests/cluster

# Each runner with equal tables, each kind of failure once, a limit kept by a fleet, workers of another version.
cluster-test: cluster-downloads ## each runner and each kind of failure once
	$(CLUSTER_TEST) -m "cluster and not cluster_all"

# Those, and every further size and shape of them.
cluster-test-all: cluster-downloads ## the cluster tests in all sizes
	$(CLUSTER_TEST) -m cluster

# Flink, the job servers and Prism, from their registries into .cluster/, unless they lie there.
cluster-downloads: $(VENV)/.test ## what the cluster is made of
	cd tests && $(abspath $(BIN))/python -m support.cluster_downloads

# Simulated histories, and fuzz between them, more of them the longer it runs; a seed that fails is printed.
SOAK_SECONDS ?= 3600
soak: $(VENV)/.test ## an hour of what the tests do for a minute: simulated histories, fuzz
	PYTHONPATH=tests $(BIN)/python tests/simulation/soak.py --seconds $(SOAK_SECONDS)

# Changes of operators in the core that no test notices; MUTANTS="calls/bisection" tries one module alone.
mutants: $(VENV)/.test ## what the tests of the core do not notice
	$(BIN)/python -m pip install --quiet "cosmic-ray>=8.7"
	$(BIN)/python tests/mutants.py $(MUTANTS)

# What others do the same work with, in a venv of its own; the vendor's messages must be those that we use.
PEERS := build/peers
peers: $(VENV)/.test ## set up what benchmarks/peers.py compares with
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade pip
	$(PEERS)/bin/python -m pip install --quiet "daft>=0.7.26" "pyarrow>=17" "clarifai-grpc>=12"

lint: $(VENV)/.dev ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) types

types: $(VENV)/.dev ## types alone
	$(BIN)/mypy -p bulkinfer.transforms -p bulkinfer.pipelines
	# What exists on Unix alone must stand behind a check of sys.platform.
	$(BIN)/mypy --platform win32 -p bulkinfer.transforms -p bulkinfer.pipelines

format: $(VENV)/.dev ## bring the code in style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The CLI and job file references are generated; a test fails when they are stale.
docs: $(VENV)/.test ## write the generated pages of docs/
	$(BIN)/python docs/generate.py

dev: $(VENV)/.dev ## set up .venv for work on the code

clean: ## remove all that the targets made
	rm -rf $(VENV) build dist out .cluster *.egg-info

# Strict editable installs link the files that exist, so a module added or removed asks for a new install.
SOURCES := $(sort $(shell find transforms pipelines -name '*.py'))
INSTALL = $(BIN)/python -m pip install -qq --editable "$(1)" --config-settings editable_mode=strict

# The pip that Python 3.10 and 3.11 bring gives up on resolving the test environment; a current one does not.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$@ -m pip install --quiet --upgrade pip

$(VENV)/.sources: $(BIN)/python FORCE
	@echo '$(SOURCES)' | cmp -s - $@ || echo '$(SOURCES)' > $@

$(VENV)/.run: pyproject.toml $(VENV)/.sources
	$(call INSTALL,.[demo])
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.sources
	$(call INSTALL,.[test])
	@touch $@ $(VENV)/.run

$(VENV)/.dev: pyproject.toml $(VENV)/.sources
	$(call INSTALL,.[dev])
	@touch $@ $(VENV)/.test $(VENV)/.run

FORCE:
