# `make run` and `make test` are all that is needed; both install what is missing first.

PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
REQUIREMENTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install run test check bench clean

help:
	@echo 'make run      serve on http://127.0.0.1:8188      ARGS="--port 9000 --base-directory DIR"'
	@echo 'make test     run the tests                       ARGS="tests/web -k upload"'
	@echo 'make check    ruff, mypy --strict, architecture tests'
	@echo 'make bench    measure, beside controls            ARGS="..."'
	@echo 'make install  only create .venv and install       PYTHON=python3.12'
	@echo 'make clean    remove .venv and all caches'

install: $(VENV)/.installed

run: $(VENV)/.installed
	@$(BIN)/python server.py $(ARGS)

test: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest $(PYTEST_ARGS) $(ARGS)

check: $(VENV)/.installed-for-tests
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy --strict execution web
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: $(VENV)/.installed-for-tests
	@$(BIN)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make repeated calls instant: pip runs again only when a requirement has changed.
$(VENV)/.installed: $(REQUIREMENTS) | $(BIN)/pip
	@echo 'Installing into $(VENV); the first time takes a minute or two, torch is large.'
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-for-tests: $(REQUIREMENTS) | $(BIN)/pip
	@echo 'Installing into $(VENV), with what the tests need; the first time takes a minute or two.'
	$(PIP) install --quiet -c constraints.txt -e '.[test]'
	@touch $(VENV)/.installed $@

# pip is the last thing that venv writes, so a creation that was broken off is done again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
