# `make demo` runs the main job on real stickers, `make test` checks everything; both set up what is missing.
# GPU machines: `make LOCK=requirements/gpu.txt`; the environment remembers its lock.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := venv

VENV ?= .venv
STAMP := $(VENV)/lock.sha256
LOCK ?= $(or $(shell test ! -f $(STAMP) || cut -d' ' -f3 $(STAMP)),requirements/cpu.txt)
BIN := $(VENV)/bin
# Processes that run tests.
JOBS ?= 2
PYTHON ?= $(shell command -v python3.11 || command -v python3)

.PHONY: venv demo test lint bench clean

# Built anew only when the content of the lock changes: the stamp, written last, holds its hash.
venv:
	@if ! sha256sum --check --status $(STAMP) 2>/dev/null || ! grep -q ' $(LOCK)$$' $(STAMP); then \
		test -f $(LOCK) || { echo "error: there is no lock $(LOCK)"; exit 1; }; \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed")'; \
		echo "setting up $(VENV) from $(LOCK), some minutes"; \
		rm -rf $(VENV); \
		$(PYTHON) -m venv $(VENV); \
		$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r $(LOCK); \
		$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .; \
		sha256sum $(LOCK) > $(STAMP); \
	fi

demo: venv
	@head -n 1 demo/data/stickers.csv 2> /dev/null | grep -q label_source || $(BIN)/mghft data build emoji --out demo/data --cache demo/cache
	@$(BIN)/mghft data check emoji --data demo/data
	@$(BIN)/mghft describe emoji --data demo/data --out demo/descriptions
	@echo "training with and without text side by side; the one without writes to demo/no-text.log"
	@$(BIN)/mghft train emoji --data demo/data --descriptions demo/descriptions --recipe cpu \
		--cache-dir demo/cache --no-text --out demo/runs/no-text --resume > demo/no-text.log 2>&1 & other=$$!; \
	$(BIN)/mghft train emoji --data demo/data --descriptions demo/descriptions --recipe cpu \
		--cache-dir demo/cache --out demo/runs/text --resume || { kill $$other; exit 1; }; \
	wait $$other || { cat demo/no-text.log; exit 1; }
	@if [ report/index.html -nt demo/runs/text/summary.json ] && [ report/index.html -nt demo/runs/no-text/summary.json ]; \
	then echo "the report is newer than both runs"; \
	else $(BIN)/mghft eval demo/runs/text demo/runs/no-text --out report \
		--expected benchmarks/expected_demo.yaml; fi
	@echo "the report lies in report/index.html"

# A file of tests stays in one process; torch of each takes one core.
test: lint
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

lint: venv
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: venv
	@for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python "$$script"; done

clean:
	rm -rf demo report build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
