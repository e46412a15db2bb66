# Every target first installs what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
# Number of test processes. It may exceed the number of cores, because many tests mostly wait.
WORKERS ?= 4
MINUTES ?= 10

.PHONY: demo test test-lowest test-all coverage fuzz lint types docs dist bench check clean

demo: .venv/.demo
	$(BIN)/suno-async demo

# Many tests start a process that imports the package. Compile it only once, even if the environment
# forbids writing bytecode.
test coverage: export PYTHONDONTWRITEBYTECODE =

test: .venv/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Test the built wheel with the lowest allowed versions of the dependencies, on Python 3.11. Without
# Python 3.11, nothing is tested.
test-lowest: .venv/.build
	WORKERS=$(WORKERS) VERSIONS=3.11 CONSTRAINTS=.ci/lowest.txt .ci/test-all

# Fails if the coverage is below `fail_under` in pyproject.toml.
coverage: .venv/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term

# Test the built wheel with each Python from 3.11 to 3.14 on this machine.
test-all: .venv/.build
	WORKERS=$(WORKERS) .ci/test-all

# Test with new random seeds for MINUTES minutes. Stops at the first failure and says how to repeat
# it.
fuzz: .venv/.test
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python .ci/shape.py

types: .venv/.dev
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -m tests.docs.typecheck

docs: .venv/.dev
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

dist: .venv/.build
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*

bench: .venv/.dev
	$(BIN)/python -m benchmarks.polling
	$(BIN)/python -m benchmarks.decode
	$(BIN)/python -m benchmarks.schedule --check
	$(BIN)/python -m benchmarks.cost --check
	$(BIN)/python -m benchmarks.journal --kills --check
	$(BIN)/python -m benchmarks.kills
	$(BIN)/python -m benchmarks.kills --signal TERM
	$(BIN)/python -m benchmarks.downloads

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

.venv/.build: .venv/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --group build
	touch $@

.venv/.dev: .venv/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[cli]' --group dev
	touch $@ .venv/.test .venv/.build
