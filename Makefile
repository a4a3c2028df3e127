# `make demo` and `make test` do all set-up on a fresh machine that has Python 3.11 or later.
PYTHON ?= python3
BIN := .venv/bin
# Two tests at a time, each on one thread: faster than one on two, and no test times anything.
# By file, in the order of tests/conftest.py, which puts the longest first.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
	--no-loadscope-reorder

# Every figure of README and docs, as benchmark:part; the last five take hours.
FIGURES := commands:startup commands:line cost overhead overhead:share many_trials \
	many_trials:--alone many_trials:--deciding loading:table loading:page bookkeeping:sqlite \
	bookkeeping:postgresql bookkeeping:suggestion input_pipeline input_pipeline:first_step \
	curves forecast transfer transfer:--members transfer:--masks worth dense regret:--commit:3950a05

.PHONY: demo test test-all test-gpu figures lint docs install clean

demo: install
	$(BIN)/scaler run --config experiments/configs/digits.yaml

test: install lint
	$(PYTEST) -m "not slow and not gpu"

test-all: install lint
	$(PYTEST) -m "not gpu"

# On a machine with a GPU: what is marked `gpu`, one test at a time. OMP_NUM_THREADS stays free.
test-gpu: install
	$(BIN)/python -m pytest -m gpu

# Printed anew, each into experiments/benchmarks/results. A quiet machine, SCALER_DATA, and hours.
figures: install
	for each in $(FIGURES); do \
		echo "== $$each"; $(BIN)/python -m experiments.benchmarks.$$(echo $$each | tr ':' ' ') \
			|| echo "$$each failed: its old figure stays, with its date"; \
	done

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The pages, into build/docs; a broken link or a missing reference is an error.
docs: install
	$(BIN)/zensical build --clean --strict

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or later is needed; try: make PYTHON=python3.12"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs build *.egg-info
