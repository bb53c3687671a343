# `make help` lists what there is. Everything installs itself: python3 (3.11 or newer), make and git are enough.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?=
IMAGES ?=
COUNT ?= 24
SPLIT ?= unseen
TRAIN_OPTIONS ?=
INSTALL := -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check lint template-lint train evaluate clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-15s %s\n", $$1, $$2}'

# A stamp file a set: a set is installed when its pins have changed, and never twice.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dermbatch needs Python 3.11 or newer; say which with make PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: requirements/%.txt | $(BIN)/python
	@echo "installing requirements/$*.txt into $(VENV)"
	@$(BIN)/python $(INSTALL) -r requirements/$*.txt
	@touch $@

.venv-sam/.installed: requirements/template.txt
	@echo "installing requirements/template.txt into .venv-sam"
	@$(PYTHON) -m venv .venv-sam
	@.venv-sam/bin/python $(INSTALL) --no-deps -r requirements/template.txt
	@touch $@

demo: $(VENV)/.installed-local ## classifies 24 rendered images, or IMAGES=DIR, on an AWS embedded in this machine; writes OUT=build/demo
	@$(BIN)/python -m infra.demo $(if $(IMAGES),--images "$(IMAGES)",--count $(COUNT)) --out "$(or $(OUT),build/demo)"

test: $(VENV)/.installed-development ## the tests, but those marked slow or docker
	@$(BIN)/python -m pytest -m "not slow and not docker"

test-all: $(VENV)/.installed-development .venv-sam/.installed ## every test; what cannot run here says why
	@$(BIN)/python -m pytest

lint: $(VENV)/.installed-development
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

template-lint: .venv-sam/.installed
	@SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-central-1 .venv-sam/bin/sam validate --lint

check: lint template-lint test-all ## the gate: format, lint, types, template, every test

train: $(VENV)/.installed-training ## a bundle from labelled images: DATA="DIR DIR" WEIGHTS=imagenet|FILE OUT=DIR
	@: $(or $(DATA),$(error DATA=DIR is missing: folders with metadata.csv and images/)) $(or $(WEIGHTS),$(error WEIGHTS=imagenet or WEIGHTS=FILE is missing))
	@$(BIN)/python -m training train --data $(DATA) --weights "$(WEIGHTS)" --out "$(or $(OUT),build/train)" $(TRAIN_OPTIONS)

evaluate: $(VENV)/.installed-training ## metrics of a bundle on labelled images: DATA="DIR DIR" BUNDLE=DIR OUT=DIR SPLIT=unseen|all
	@: $(or $(DATA),$(error DATA=DIR is missing: folders with metadata.csv and images/))
	@$(BIN)/python -m training evaluate --data $(DATA) --bundle "$(or $(BUNDLE),$(patsubst %/manifest.json,%,$(firstword $(wildcard models/*/manifest.json))))" --out "$(or $(OUT),build/evaluation)" --split $(SPLIT)

clean: ## removes what was built, not .venv
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
