# Set-up, demonstration and checks. Everything runs in .venv, which the first target makes; running a target again installs
# nothing unless pyproject.toml or constraints.txt has changed.

PYTHON ?= python3
SEED ?= 0

# Python keeps the modules that it has compiled, as those of an installed package are kept: commands start in two thirds of the
# time, whatever is set where make was called.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# The stamps carry a checksum of what they were made from: a checkout that changes a file's date alone installs nothing.
STATE := $(shell cat pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)
# A file's tests stay together, on as many processes as there are cores; in their own order, or the longest would come last.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
INSTALLED := $(VENV)/installed-$(STATE)
INSTALLED_DEV := $(VENV)/installed-dev-$(STATE)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint docs screenshots bench-loop bench-speed bench-server bench-trust bench-optimise bench-contrastive clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## run the whole loop on the built-in world: demo/report.html, demo/report.json (SEED=0)
	$(BIN)/heed demo --folder demo --seed $(SEED)

test: $(INSTALLED_DEV) system-packages ## run the tests that take seconds
	$(PYTEST)

test-all: $(INSTALLED_DEV) system-packages ## run all tests, the slow ones too, and those of the web on PostgreSQL
	$(PYTEST) -m "slow or not slow"
	HEED_TEST_DATABASE=postgresql $(PYTEST) tests/web

# What pip cannot bring. The tests that need one of them say so and are skipped where it is missing.
.PHONY: system-packages
system-packages:
	@missing=""; command -v chromium > /dev/null || missing="$$missing chromium"; \
	ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || missing="$$missing postgresql"; \
	fc-list :lang=zh 2> /dev/null | grep -q . || missing="$$missing fonts-noto-cjk"; \
	test -z "$$missing" || echo "Missing, and with it some tests:$$missing. On Debian and Ubuntu: apt install$$missing" >&2

lint: $(INSTALLED_DEV) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED) ## write the generated pages of docs/ anew
	$(BIN)/python docs/generate.py

screenshots: $(INSTALLED_DEV) ## take the pictures of docs/images/ anew
	$(BIN)/python docs/screenshots.py

bench-loop: $(INSTALLED_DEV) ## measure what the loop reaches, as JSON lines
	$(BIN)/python benchmarks/loop.py

bench-speed: $(INSTALLED_DEV) ## measure how fast it is, as JSON lines
	$(BIN)/python benchmarks/speed.py

bench-server: $(INSTALLED_DEV) ## measure the studio under load, as JSON lines
	$(BIN)/python benchmarks/server.py

bench-trust: $(INSTALLED_DEV) ## measure whom it trusts and what it learns from them, as JSON lines
	$(BIN)/python benchmarks/trust.py

bench-optimise: $(INSTALLED_DEV) ## measure what each algorithm reaches on the built-in world, as JSON lines
	$(BIN)/python benchmarks/optimise.py

bench-contrastive: $(INSTALLED_DEV) ## measure whether pretraining its backbone helps a reward model, as JSON lines
	$(BIN)/python benchmarks/contrastive.py

clean: ## remove the environment; projects and reports stay
	rm -rf $(VENV)

$(BIN)/python:
	@command -v $(PYTHON) > /dev/null || { echo "heed needs Python 3.11 or newer: $(PYTHON) is not there. Install it, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "heed needs Python 3.11 or newer: $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) comes without venv and pip. On Debian and Ubuntu: apt install python3-venv; or name another Python: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): | $(BIN)/python
	$(INSTALL) --editable .
	@rm -f $(VENV)/installed-*
	@touch $@

$(INSTALLED_DEV): | $(BIN)/python
	$(INSTALL) --editable ".[dev]"
	@rm -f $(VENV)/installed-*
	@touch $@ $(INSTALLED)
