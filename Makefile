# `make run` serves, `make test` tests, `make prove` tests at length. Each makes the virtual environment that it needs
# and installs only what changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without bytecode each worker of the tests would compile all modules anew, and rewrite their asserts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test prove chaos lint bench audit check clean

run: $(VENV)/.installed
	@$(BIN)/python cli.py serve

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

# What `make test` tries a little of, in full, and what is too long for it: PROOF_SEED=n repeats what was drawn. The kill
# test comes by itself, since it keeps the whole machine busy.
prove: $(VENV)/.installed-dev
	PROOF=full $(BIN)/python -m pytest -m "long or scaled" --ignore=tests/system/test_chaos.py
	$(BIN)/python -m pytest -n0 -m long tests/system/test_chaos.py

# The kill test alone, twenty minutes of it and with its progress. CHAOS_KILLS, CHAOS_KILL_EVERY_S (on average) and
# CHAOS_CHARGES_PER_S change how long and how hard; PROOF_SEED repeats which receiver does what, and the kills.
chaos: $(VENV)/.installed-dev
	CHAOS_KILLS=$${CHAOS_KILLS:-300} $(BIN)/python -m pytest -n0 -m long -o log_cli=true -o log_cli_level=INFO tests/system/test_chaos.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

# Whether a version that is installed has a known hole. Asks the internet, so it is no part of `make check`.
audit: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit

check: lint test prove

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make run PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.installed
