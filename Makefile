# `make demo`, `make quick` and `make test` set up everything they need in .venv; nothing else has to be there.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo quick test check keys histories clean

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/ready
	$(BIN)/gapsweep run search_spaces/sweeps/digits.yaml

quick: .venv/ready
	$(BIN)/python -m pytest -q -x -n auto tests/unit tests/contract -m 'not postgres and not ray'

test: .venv/ready
	$(BIN)/python -m pytest -q

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

keys: .venv/ready # what is generated in READMEs: a spec's keys, λ in scikit-learn's terms
	$(BIN)/python -m tests.spec_keys
	$(BIN)/python -m tests.scikit_table

histories: .venv/ready # the recorded sweeps by which pruners are compared; a quarter of an hour of CPU time
	$(BIN)/python -m tests.benchmarks.histories

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
