# Thin: every target sets up what it needs in .venv and then runs one command.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types bench check clean

demo: .venv/.demo
	$(BIN)/suno-async demo

test: .venv/.test
	$(BIN)/python -m pytest

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy
	$(BIN)/pyright

bench: .venv/.dev
	$(BIN)/python -m benchmarks.polling
	$(BIN)/python -m benchmarks.decode
	$(BIN)/python -m benchmarks.schedule --check
	$(BIN)/python -m benchmarks.cost --check

check: lint types test

clean:
	rm -rf .venv

.venv/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "suno_async needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

.venv/.demo: .venv/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[cli]'
	touch $@

.venv/.test: .venv/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[cli]' --group test
	touch $@

.venv/.dev: .venv/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[cli]' --group dev
	touch $@ .venv/.test
