# `make demo`, `make test` and `make notebooks` do all their own set-up. PYTHON=python3.12 and PIP_FLAGS="…" can be given.
PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SETUP := .venv/.installed
EVERYTHING := .venv/.installed-everything
DEMO := python -m effbench.sweep +prune=0.1,0.5,0.9
WAITING := $(shell grep -rl --include="*.py" "mark\.waiting" tests)
ACTIVATE := your turn: type  . $(BIN)/activate  and then  python -m effbench.sweep --help
MAKEFLAGS += --no-print-directory
# Tests begin hundreds of processes: where this is set, each of them compiles all of effbench anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo test waiting thorough check bench notebooks clean

setup: $(SETUP)
	@echo "$(ACTIVATE)"

# What the demo needs, and no more.
$(SETUP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "effbench needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet $(PIP_FLAGS) -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $(SETUP)

# Extras, notebooks and tests beside it.
$(EVERYTHING): $(SETUP) requirements-dev.lock
	$(PIP) install --quiet $(PIP_FLAGS) -r requirements-dev.lock
	@touch $(EVERYTHING)

demo: $(SETUP)
	@echo "$(DEMO)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(DEMO)
	@echo "$(ACTIVATE)"

test: $(EVERYTHING)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not waiting and not extended"

# All other tests.
thorough: waiting
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "extended and not waiting"

# What begins servers, clusters, workers of scripts and notebooks, kills, and waits for what hangs: three at a time, as
# all of it waits for other processes; what fails beside others is tried once more alone.
waiting: $(EVERYTHING)
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile -m waiting $(WAITING) || \
		$(BIN)/python -m pytest -q --last-failed -m waiting $(WAITING)

check: $(EVERYTHING)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(MAKE) test

bench: $(EVERYTHING)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# They keep all that they compute in notebooks/lessons.
notebooks: $(EVERYTHING)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupyter lab $(JUPYTER_FLAGS) notebooks/1_first_sweep.ipynb

clean:
	rm -rf .venv .effbench mlflow.db* mlruns notebooks/lessons build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
