# `make demo` and `make test` do all their own set-up. PYTHON=python3.12 and PIP_FLAGS="…" can be given.
PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin
STAMP := .venv/.installed
DEMO := python -m effbench.sweep +prune=0.1,0.5,0.9
ACTIVATE := your turn: type  . $(BIN)/activate  and then  python -m effbench.sweep --help
MAKEFLAGS += --no-print-directory

.PHONY: setup demo test check bench clean

setup: $(STAMP)
	@echo "$(ACTIVATE)"

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "effbench needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP)
	@echo "$(DEMO)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(DEMO)
	@echo "$(ACTIVATE)"

test: $(STAMP)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(MAKE) test

bench: $(STAMP)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv .effbench mlflow.db* mlruns build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
