# From a clone to results: `make quickstart`. What every change must pass: `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Three test processes with one thread each for two cores, since tests wait for a sixth of their time: 5 min 51 s
# instead of 6 min 25 s. Spinning threads of several processes slow each other 5-30 times.
# A file stays in one process: what its classes share would be made in each that has one of them.
# Compiled modules are kept, whatever the shell asks: tests start a hundred processes that import the same ones.
TEST_PROCESSES ?= 3
TEST_ENV := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE PYTHONDONTWRITEBYTECODE=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install quickstart bundle test portraits lint docs clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed  ## create .venv and install the package

quickstart: $(VENV)/.installed  ## install, run the quick suite, print both tables (reuses what is done)
	$(BIN)/eggan bench run quick --processes 2
	$(BIN)/eggan report build --suite quick
	@echo
	@echo "Tables and figures: runs/report/index.html.  Every run, in MLflow: $(BIN)/eggan ui"

bundle: $(VENV)/.installed  ## write a folder that runs suites on a node without a network
	$(BIN)/eggan bench bundle --out bundle

test: $(VENV)/.installed-dev lint  ## lint, types and tests
	$(TEST_ENV) $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

portraits: $(VENV)/.installed  ## fetch photographs for `eggan bench photos` and its tests
	$(BIN)/python -m tests.fetch_portraits data/portraits

lint: $(VENV)/.installed-dev  ## ruff and mypy only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2

docs: $(VENV)/.installed-docs  ## build the pages, with every command and setting, into site/
	$(BIN)/python docs/make_reference.py
	$(BIN)/zensical build --clean --strict

clean:  ## remove the virtual environment and caches; data/ and runs/ stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make a second call take no time; a changed dependency list installs again.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed, '$(PYTHON)' is not: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "cannot create $(VENV): install Python's venv module (Debian: python3-venv)" >&2; exit 2; }
	$(BIN)/python -m pip install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install -c constraints.txt -e '.[docs]'
	@touch $@
