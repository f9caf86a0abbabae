# Two commands do everything on a machine that has Python and make:
#   make demo   a spoken conversation, traced, without an account or a network
#   make test   the tests
# And for who changes something:
#   make lint | types | docs | package
#   make compat    the tests with other versions of the libraries, and in other environments
#   make hostile   a million frames of hostile peers and every call that can fail, for a night; HOSTILE_SEED=… repeats one
#   make kills     processes that are killed a hundred times at random moments (VOICESPAN_KILLS=…)
#   make screenshots   the pictures of docs/backends.md (VOICESPAN_TEST_PHOENIX, VOICESPAN_TEST_BROWSER)
#   make bench     what it costs, and docs/performance.md (ONLY=receive: one measurement; MINUTES=45; QUICK=1: a try)
#   make ci        all of it, as on a machine that has nothing of ours
# `make test PYTEST_ARGS="-k spool"` passes arguments on, `JOBS=1` runs one test at a time; `make PYTHON=python3.12 test` takes another Python
# (after `make clean`).
PYTHON ?= python3
# How many tests run at a time: they wait for more than half of their time. What they allow for is meant for two idle processors.
JOBS ?= 4
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# What is installed: written when all of it is, so that a failed installation is made again.
READY := $(VENV)/.ready
TOOLS := $(VENV)/.ready-tools

.PHONY: demo test lint types docs screenshots package compat kills hostile bench ci clean

$(READY): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "voicespan needs Python 3.10 or later: make PYTHON=python3.12"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) \
		|| { echo "this Python has no venv (on Debian: apt-get install python3-venv)"; exit 1; }
	@echo "installing into $(VENV) (once)"
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --editable '.[openai,gemini,testing]' --group test
	@touch $@

$(TOOLS): $(READY)
	@echo "installing what checks and builds (once)"
	@$(PIP) install --group lint --group docs --group package
	@touch $@

demo: $(READY)
	@$(BIN)/voicespan demo
	@$(BIN)/voicespan demo --provider cascade

test: $(READY)
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

lint: $(TOOLS)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(TOOLS)
	@$(BIN)/mypy

docs: $(TOOLS)
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

screenshots: $(READY)
	@$(PIP) install --group browser
	@$(BIN)/python tests/phoenix/screenshots.py

package: $(TOOLS)
	@rm -rf dist
	@$(BIN)/python -m build
	@$(BIN)/python tests/compat/package.py dist

compat: $(READY)
	@$(BIN)/python tests/compat/run.py $(RUNS)
	@$(BIN)/python tests/compat/own_tests.py

bench: $(READY)
	@$(BIN)/python -m benchmarks $(ONLY) $(if $(QUICK),--quick) $(if $(MINUTES),--minutes $(MINUTES))

kills: $(READY)
	@VOICESPAN_KILLS=$${VOICESPAN_KILLS:-100} $(BIN)/python -m pytest -q -s tests/delivery/test_kills.py tests/delivery/test_deliverer_kills.py

hostile: $(READY)
	@seed=$${HOSTILE_SEED:-$$(date +%s)}; echo "HOSTILE_SEED=$$seed"; \
		HOSTILE_SEED=$$seed HOSTILE_FRAMES=$${HOSTILE_FRAMES:-1000000} HOSTILE_FAULTS=$${HOSTILE_FAULTS:-all} $(BIN)/python -m pytest -q -s tests/hostile

ci:
	@bash .ci/run

clean:
	rm -rf $(VENV) .cache dist docs/_build .pytest_cache .mypy_cache .ruff_cache
