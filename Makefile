# Every target makes the checkout ready by itself; `make` alone prints this list.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types layers csrc-check bench wheel lock schemas fuzz stress corpus reference corpus-programs host-test clean

PYTHON := .venv/bin/python
BIN := .venv/bin
# Two test processes suit two cores; a live test module stays on one of them (see tests/conftest.py).
JOBS ?= 2
PYTEST := $(PYTHON) -m pytest -n $(JOBS) --dist loadfile

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

setup: ## install system packages (when root), .venv, pinned dependencies, the extension
	@scripts/setup.sh

demo: setup ## a real CVE fix goes into a live server under load, and out again
	$(PYTHON) -m scripts.demo $(ARGS)

test: setup ## all tests but the long ones
	$(PYTEST) -m "not slow" $(ARGS)

check: lint types layers csrc-check ## everything that judges the sources without running them

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

csrc-check: setup
	scripts/check_csrc.sh

bench: setup ## figures side by side with the peers, into docs/results/
	$(PYTHON) -m scripts.bench $(ARGS)
	$(PYTHON) -m scripts.bench.decisions

wheel: setup ## one wheel for all Python versions, in dist/
	$(PYTHON) -m build --wheel --no-isolation --outdir dist .

lock: setup ## renew requirements/*.txt from pyproject.toml (ARGS=--upgrade for newer versions)
	$(PYTHON) scripts/lock.py $(ARGS)

schemas: setup ## renew docs/schemas/*.json from the code
	$(PYTHON) scripts/write_schemas.py

fuzz: setup ## fuzz the readers for longer than `make test` does
	NAHT_FUZZ=long $(PYTEST) -p no:cacheprovider tests/fuzz $(ARGS)

stress: setup ## kill-safety, thousands of applies and reverts, many processes (long)
	$(PYTEST) -n 1 -m "slow and live" $(ARGS)

reference: setup ## how many objects of the built Debian packages equal the shipped ones
	$(PYTHON) -m scripts.corpus.reference_table --output docs/results/reference-debian.md $(ARGS)

corpus: setup ## real Debian security patches in live processes, into docs/results/ (hours; resumes)
	$(PYTHON) -m scripts.corpus $(ARGS)

host-test: setup ## a host of the distribution is upgraded and healed, nothing restarted (root, long)
	$(PYTHON) -m scripts.host_heal $(ARGS)

corpus-programs: setup ## every program of tests/programs with every compiler and level (long)
	$(PYTEST) -m "slow and compiler and not live" $(ARGS)

clean: ## remove what was built, but not .venv
	rm -rf build dist src/naht/_core*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
