# `make help` lists the targets. Each installs what it needs; python3 (3.11 or newer), make and git are enough.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?=
IMAGES ?=
COUNT ?= 24
SPLIT ?= unseen
ROBUSTNESS ?= 30
EXPLAINED ?= 100
LESIONS ?= 40
TRAIN_OPTIONS ?=
BENCH_OPTIONS ?=
STACK ?= dermbatch
DEPLOY_OPTIONS ?=
PARAMETERS ?=
SMOKE_OPTIONS ?=
SERVE_OPTIONS ?=
SECONDS ?= 120
INSTALL := -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes

.DEFAULT_GOAL := help
.PHONY: help base demo test test-on-arm test-page test-training test-all tests-that-wait tests-in-docker tests-that-compute check lint template-lint train evaluate quality fuzz soak bench audit engine chromium serve deploy smoke clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-15s %s\n", $$1, $$2}'

# Each set of requirements has a stamp file, so it is installed again only when its pins change.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dermbatch needs Python 3.11 or newer; say which with make PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: requirements/%.txt | $(BIN)/python
	@echo "installing requirements/$*.txt into $(VENV)"
	@$(BIN)/python $(INSTALL) -r requirements/$*.txt
	@touch $@

# One pip at a time in one environment.
$(VENV)/.installed-browser: | $(VENV)/.installed-development

.venv-sam/.installed: requirements/template.txt
	@echo "installing requirements/template.txt into .venv-sam"
	@$(PYTHON) -m venv .venv-sam
	@.venv-sam/bin/python $(INSTALL) --no-deps -r requirements/template.txt
	@touch $@

.venv-audit/.installed: requirements/audit.txt
	@echo "installing requirements/audit.txt into .venv-audit"
	@$(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python $(INSTALL) --no-deps -r requirements/audit.txt
	@touch $@

.venv-fuzz/.installed: requirements/fuzz.txt
	@echo "installing requirements/fuzz.txt into .venv-fuzz"
	@$(PYTHON) -m venv .venv-fuzz
	@.venv-fuzz/bin/python $(INSTALL) -r requirements/fuzz.txt
	@touch $@

# The command itself, after its pinned packages: editable, so that it runs the code as it is.
$(VENV)/.installed-dermbatch: pyproject.toml $(VENV)/.installed-command
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(VENV)/.installed-dermbatch ## classifies 24 rendered images, or IMAGES=DIR, on an AWS embedded in this machine; writes OUT=build/demo
	@$(BIN)/dermbatch demo $(if $(IMAGES),--images "$(IMAGES)",--count $(COUNT)) --out "$(or $(OUT),build/demo)"

# Files are spread over as many processes as there are cores; tests/conftest.py says how many the memory allows.
PYTEST := $(BIN)/python -m pytest -n auto

test: $(VENV)/.installed-development ## all tests except those marked slow, docker, training, browser or arm64
	@$(PYTEST) -m "not slow and not docker and not training and not browser and not arm64"

test-on-arm: $(VENV)/.installed-development .venv-sam/.installed ## the worker on an emulated Arm processor, about ten minutes; needs qemu-user-static and debootstrap, and root once
	@$(BIN)/python -m pytest tests/arm64

test-page: $(VENV)/.installed-development $(VENV)/.installed-browser ## the tests of the page in a real browser: needs Chromium
	@$(PYTEST) -m browser

test-training: $(VENV)/.installed-development ## the tests that train with TensorFlow
	@$(PYTEST) -m training

# The gate has three parts side by side. One computes. One waits most of its time, for queues and killed processes, so
# six processes share it test by test. One needs Docker, and has one engine. Unmarked tests that take over ten seconds fail.
WAITING := tests/faults tests/proof/test_fuzz.py
SIDE_BY_SIDE := --no-print-directory --jobs 3 --output-sync=target --keep-going

test-all: ## every test except pairs of faults; what cannot run here says why
	@$(MAKE) $(SIDE_BY_SIDE) tests-that-compute tests-that-wait tests-in-docker

tests-that-wait: $(VENV)/.installed-development .venv-fuzz/.installed
	@$(BIN)/python -m pytest $(WAITING) -m "not pairs" -n 6 --dist load --unmarked-seconds 10
	@echo "NOT RUN: pairs of faults on one upload (make soak SOAK_OPTIONS=--pairs)"

tests-in-docker: $(VENV)/.installed-development .venv-sam/.installed engine
	@$(BIN)/python -m pytest tests/docker

tests-that-compute: $(VENV)/.installed-development $(VENV)/.installed-browser .venv-sam/.installed chromium
	@$(PYTEST) tests $(patsubst %,--ignore=%,$(WAITING) tests/docker tests/arm64) --unmarked-seconds 10
	@echo "NOT RUN: the worker on an emulated Arm processor (make test-on-arm)"

lint: $(VENV)/.installed-development
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

template-lint: .venv-sam/.installed
	@SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-central-1 .venv-sam/bin/sam validate --lint

audit: .venv-audit/.installed ## looks for known weaknesses: code (bandit), template and Dockerfile (checkov), pins (hashes, known vulnerabilities); writes build/sbom
	@.venv-audit/bin/python -m proof.audit

base: $(VENV)/.installed-dermbatch ## names the base image of both recipes by the digest that its tag has today (needs Docker and the registry)
	@$(BIN)/python -m infra.base_image

# On a CI machine, install an engine for the Docker tier; the tests start it, and report when they cannot.
engine:
	@if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ] && [ -x /usr/bin/apt-get ] && ! { command -v dockerd && command -v debootstrap; } >/dev/null; then \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends docker.io iptables debootstrap; } >/dev/null 2>&1 \
	  || echo "no Docker engine can be installed here"; fi

# Likewise a browser for the tests of the page; after the engine, since apt-get runs once at a time.
chromium: engine
	@if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ] && [ -x /usr/bin/apt-get ] && ! command -v chromium >/dev/null; then \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 \
	  || echo "no Chromium can be installed here"; fi

check: ## the gate: format, lint, types, template, audit, every test
	@echo "Everything runs side by side; each part is printed when it has ended."
	@$(MAKE) $(SIDE_BY_SIDE) tests-that-compute tests-in-docker tests-that-wait lint template-lint audit

train: $(VENV)/.installed-training ## makes a bundle from labelled images: DATA="DIR DIR" WEIGHTS=imagenet|FILE OUT=DIR
	@: $(or $(DATA),$(error DATA=DIR is missing: folders with metadata.csv and images/)) $(or $(WEIGHTS),$(error WEIGHTS=imagenet or WEIGHTS=FILE is missing))
	@$(BIN)/python -m training train --data $(DATA) --weights "$(WEIGHTS)" --out "$(or $(OUT),build/train)" $(TRAIN_OPTIONS)

evaluate: $(VENV)/.installed-training ## measures a bundle on labelled images: DATA="DIR DIR" BUNDLE=DIR OUT=DIR SPLIT=unseen|all ROBUSTNESS=30|all EXPLAINED=100|all
	@: $(or $(DATA),$(error DATA=DIR is missing: folders with metadata.csv and images/))
	@$(BIN)/python -m training evaluate --data $(DATA) --bundle "$(or $(BUNDLE),$(patsubst %/manifest.json,%,$(firstword $(wildcard models/*/manifest.json))))" --out "$(or $(OUT),build/evaluation)" --split $(SPLIT) --robustness $(ROBUSTNESS) --explained $(EXPLAINED)

quality: $(VENV)/.installed-training ## finds thresholds of image quality by degrading real images: DATA="DIR DIR" BUNDLE=DIR OUT=DIR LESIONS=40|all
	@: $(or $(DATA),$(error DATA=DIR is missing: folders with metadata.csv and images/))
	@$(BIN)/python -m training quality --data $(DATA) --bundle "$(or $(BUNDLE),$(patsubst %/manifest.json,%,$(firstword $(wildcard models/*/manifest.json))))" --out "$(or $(OUT),build/quality)" --lesions $(LESIONS)

fuzz: .venv-fuzz/.installed ## looks for bytes that break the decoder, guided by code coverage: SECONDS=120 OUT=build/fuzz
	@.venv-fuzz/bin/python -m proof.fuzz --seconds $(SECONDS) --out "$(or $(OUT),build/fuzz)"

soak: $(VENV)/.installed-development ## uploads images under injected faults and checks that each ends as promised: N=10000 OUT=build/soak SOAK_OPTIONS="--cloud moto --seeds 1-20", or --pairs
	@$(BIN)/python -m proof.soak -n $(or $(N),10000) --out "$(or $(OUT),build/soak)" $(SOAK_OPTIONS)

bench: $(VENV)/.installed-bench ## compares performance with a Keras worker, in one table: OUT=build/bench BENCH_OPTIONS="--thorough --commit"
	@$(BIN)/python -m benchmarks.side_by_side --out "$(or $(OUT),build/bench)" $(BENCH_OPTIONS)

serve: $(VENV)/.installed-dermbatch $(VENV)/.installed-service ## starts a stack of this machine's own with worker, service and page, and prints its address: SERVE_OPTIONS="--state DIR --port 8000"
	@$(BIN)/dermbatch serve --local $(SERVE_OPTIONS)

# The processor of the functions is a parameter, so the build needs the parameters too. SAM takes the last of several
# --parameter-overrides, and the build would not see one among DEPLOY_OPTIONS.
OVERRIDES := $(if $(PARAMETERS),--parameter-overrides $(PARAMETERS))
deploy: .venv-sam/.installed $(VENV)/.installed-dermbatch ## builds the image (needs Docker), shows the changes on AWS, deploys when you agree: STACK=dermbatch PARAMETERS="NAME=VALUE NAME=VALUE" DEPLOY_OPTIONS=--guided
	@: $(if $(findstring --parameter-overrides,$(DEPLOY_OPTIONS)),$(error Parameters are given as PARAMETERS="NAME=VALUE NAME=VALUE": the build needs them too))
	@SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam build $(OVERRIDES)
	@SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam deploy --stack-name "$(STACK)" --s3-prefix "$(STACK)" $(OVERRIDES) $(DEPLOY_OPTIONS)
	@$(BIN)/dermbatch versions --stack "$(STACK)" || echo "Old versions were not looked at: dermbatch versions --stack $(STACK)"

smoke: $(VENV)/.installed-dermbatch ## uploads known images to a deployed stack and waits for their records: STACK=dermbatch (AWS_ENDPOINT_URL=... for an emulator)
	@$(BIN)/dermbatch smoke --stack "$(STACK)" $(SMOKE_OPTIONS)

clean: ## removes build outputs and caches, not .venv
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
