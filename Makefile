# What people and machines type. Needs make, and a Python from 3.11 on with its venv module; the rest is fetched into .venv.

BIND ?= 127.0.0.1:8000
DIRECTORY ?= .
VENV ?= .venv
# One environment more than there are cores: tests wait, too.
TOX ?= run-parallel --parallel $(shell echo $$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) + 1)))

# Every interpreter that pyenv has, not only the active one: for tox, after everything else.
PYENV_PYTHONS := $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/*3.1[1-9]*/bin)
EMPTY :=
export PATH := $(PATH)$(if $(PYENV_PYTHONS),:$(subst $(EMPTY) ,:,$(PYENV_PYTHONS)))

# The first supported one of these; say `make PYTHON=...` for another. Asked for only where one is needed.
PYTHON ?= $(eval PYTHON := $$(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$$$p"; exit; }; done))$(PYTHON)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help

.PHONY: help
help:  ## say this
	@echo 'make TARGET [NAME=VALUE...]'
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo 'BIND=$(BIND)  DIRECTORY=$(DIRECTORY)  PYTHON=a Python from 3.11 on'

.PHONY: serve
serve: $(VENV)/.serve  ## serve the files of DIRECTORY by HTTP on BIND, until Ctrl-C
	@exec $(BIN)/python -m examples.http_lite --bind '$(BIND)' '$(DIRECTORY)'

.PHONY: test
test: $(VENV)/.test  ## run everything: tests on every Python that is here, types, lint, docs
	$(BIN)/python -m tox $(TOX)

.PHONY: clean
clean:  ## remove what was made: .venv, .tox, caches, the built docs
	rm -rf $(VENV) .tox dist docs/_build .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is younger than what it was made from, so nothing is installed twice.

$(VENV)/.made:
	@test -n '$(PYTHON)' || { echo 'no Python from 3.11 on, with venv, was found; say which: make PYTHON=/path/to/python3' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo '$(PYTHON) is no Python from 3.11 on' >&2; exit 1; }
	'$(PYTHON)' -m venv --clear $(VENV)
	@touch $@

$(VENV)/.serve: $(VENV)/.made pyproject.toml
	$(PIP) install --editable '.[http]'
	@touch $@

$(VENV)/.test: $(VENV)/.made pyproject.toml
	$(PIP) install 'tox>=4.30'
	@touch $@
