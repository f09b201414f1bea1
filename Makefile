# Two commands matter: `make demo` and `make test`. Each makes what it needs and is cheap the second time.
# Wanted beforehand: Python 3.11 or newer, git, make. `make help` lists the rest.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=
# Two tests at a time: many wait for a server or a clock. All tests of a class or file stay in one process.
AT_ONCE ?= --numprocesses 2 --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint format types bench services docs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1|/' | while IFS='|' read -r name what; do printf '%-18s %s\n' "$$name" "$$what"; done

demo: $(VENV)/.demo  ## record real input for half a minute and show it (ARGS="--seconds 5" and so on)
	@$(BIN)/tallystick demo $(ARGS)

test: lint types  ## lint, types and every test (ARGS="--thorough" for the long counts, AT_ONCE= for one at a time)
	$(BIN)/python -m pytest $(AT_ONCE) $(ARGS)

test-fast: $(VENV)/.dev  ## the tests that need no service, in two or three minutes
	$(BIN)/python -m pytest tests/unit tests/test_rules.py $(ARGS)

lint: $(VENV)/.dev  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev  ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

bench: $(VENV)/.bench  ## every figure: name, ratio, goal (ARGS="--quick", "--json", or topics: "calls import")
	@$(BIN)/python benchmarks $(ARGS)

services: $(VENV)/.dev  ## start the databases that the integration tests use (ARGS names them; all by default)
	$(BIN)/python scripts/services/all start $(ARGS)

docs: $(VENV)/.dev  ## prove the documentation: its links resolve and its examples run
	$(BIN)/python -m pytest tests/test_docs.py tests/test_rules.py $(ARGS)

clean:  ## forget the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache dist build

# The first Python that runs, is new enough and can make an environment; PYTHON=/path/to/python overrides.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        echo "making $(VENV) with $$python ($$($$python -V))"; exec $$python -m venv $(VENV); \
	    fi; \
	done; \
	echo "no Python 3.11 or newer with venv was found (on Debian: apt install python3-venv); try: make PYTHON=/path/to/python" >&2; exit 1

# One stamp a set of extras, made anew when pyproject.toml changes; the package itself is installed editable.
$(VENV)/.demo $(VENV)/.dev $(VENV)/.bench: $(VENV)/.%: pyproject.toml | $(BIN)/python
	@echo "installing tallystick[$*] into $(VENV)"
	@$(PIP) --editable '.[$*]'
	@touch $@
