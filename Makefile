PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/installed

# Tests start hundreds of programs; compiled files make each start faster.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help quickstart docs test test-slow test-long test-gpu test-cluster bundle chaos lint ui bench bench-check bench-gpu clean

help:
	@echo "make quickstart  install, pretrain on digits, compare with raw pixels from 30 labels, write the report"
	@echo "make test        install, then lint, types and tests"
	@echo "make test-slow   the tests that start clusters, servers and whole sweeps"
	@echo "make test-long   the tests that repeat another test's case at another size"
	@echo "make test-gpu    the tests that need a GPU; only PyTorch, torchvision, pyarrow, pydantic and pytest are needed"
	@echo "make test-cluster  a cluster whose hosts are network namespaces, and one on a local EC2; needs root, iproute2, sshd, rsync"
	@echo "make docs        write docs/settings.md from the fields of a trial"
	@echo "make bundle      the code and scripts for the nodes of a cluster, into ~/.sweep-bundle (docs/cluster.md)"
	@echo "make chaos       200 faults over small sweeps on a local cluster, about an hour (FAULTS=20 SEED=1: fewer, others)"
	@echo "make ui          MLflow's pages of the results in .sweep, until Ctrl-C"
	@echo "make lint        ruff and mypy"
	@echo "make bench       speed of everything compared with its goals, into docs/performance.json"
	@echo "make bench-check a few small measurements; fails at a large regression"
	@echo "make bench-gpu   speed of a training step on this machine's GPU"
	@echo "make clean       remove .venv, caches and .sweep (all results of this folder)"

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(INSTALLED)

quickstart: $(INSTALLED)
	@$(BIN)/python -m sweep.run --space quickstart
	@echo
	@$(BIN)/python -m sweep.compare quickstart --html .sweep/quickstart-report | grep '^report: '
	@echo "Open it in MLflow:  make ui"
	@echo "Try next:           $(BIN)/python -m sweep.run --space quickstart --set temperature=0.1,0.25,0.5,1 --name temperatures"

docs: $(INSTALLED)
	$(BIN)/python -m sweep.planning.field_reference > docs/settings.md

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A process that is done takes over tests from the other.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal --durations 10

test: lint
	$(PYTEST)

test-slow: $(INSTALLED)
	$(PYTEST) -m 'slow and not long'

test-long: $(INSTALLED)
	$(PYTEST) -m long

# Installs nothing: a machine with a GPU has its own PyTorch. GPU_PYTHON=... chooses another interpreter.
GPU_PYTHON ?= $(if $(wildcard $(INSTALLED)),$(BIN)/python,python3)
test-gpu:
	$(GPU_PYTHON) -m pytest tests/test_gpu.py -rs --durations 5

# AWS's command line pins its own botocore, so it has an environment of its own.
AWS_CLI := .venv/aws-cli
test-cluster: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cluster]'
	test -x $(AWS_CLI)/bin/aws || { $(PYTHON) -m venv $(AWS_CLI) && $(AWS_CLI)/bin/python -m pip install --quiet awscli; }
	PATH=$(CURDIR)/$(AWS_CLI)/bin:$$PATH $(BIN)/python -m pytest -m slow -rs --durations 10 \
		tests/cluster/test_cluster_local.py tests/cluster/test_cluster_local_jobs.py tests/cluster/test_cluster_aws.py

bundle:
	@PYTHON=$(abspath $(BIN)/python) deploy/cluster/make_bundle.sh

chaos: $(INSTALLED)
	cd tests && PYTHONPATH=.:.. ../$(BIN)/python -m chaos --seed $(or $(SEED),0) --faults $(or $(FAULTS),200)

ui: $(INSTALLED)
	@$(BIN)/python -m sweep.ui

bench: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.speed --json docs/performance.json --plot docs

bench-check: $(INSTALLED)
	$(BIN)/python -m benchmarks.check

bench-gpu: $(INSTALLED)
	$(BIN)/python -m benchmarks.gpu

clean:
	rm -rf .venv .sweep .mypy_cache .ruff_cache .pytest_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
