# Everything a checkout needs, on a machine with Python 3.11 or later and make.
#
# The environment is built in .venv on first use and rebuilt when pyproject.toml or constraints.txt change; nothing is
# installed outside this folder. The demo needs the package alone, everything else the development tools as well.
# PYTHON=... chooses the interpreter, ARGS=... is handed to the program: make demo ARGS="--path ../other".

VENV := .venv
BENCH_VENV := .venv-bench
PIN_VENV := .venv-constraints
OLDEST_VENV := .venv-oldest
CORE := $(VENV)/.core-installed
DEV := $(VENV)/.dev-installed
BENCH := $(BENCH_VENV)/.installed
OLDEST := $(OLDEST_VENV)/.installed
PINS := pyproject.toml constraints.txt
ENGINES := .[redis,postgres,llm]
# Warnings about the machine's own pip configuration are of no use to the reader; errors still show.
PIP := -m pip --disable-pip-version-check -qq

# Two at a time suits a small machine; a hung test ends after its own limit, and the whole run after this one.
TEST_WORKERS ?= 2
TEST_SECONDS ?= 4800
# What depends on the versions of what others have made: the event loop, the command line, providers' SDKs, Pydantic AI.
OLDEST_TESTS ?= tests/unit $(addprefix tests/integration/,workers llm testing cli)

.DEFAULT_GOAL := help
.PHONY: help install demo test oldest check format bench chaos constraints clean

help: ## print this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1|/' | \
	while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

install: $(DEV) ## build .venv with the package and its development tools

demo: $(CORE) ## run the main job on this repository
	@$(VENV)/bin/tenuto demo $(ARGS)

# Tests start some thousand interpreters, and pytest rewrites what it imports: byte code is kept for the next one. Lines
# that several processes print into one pipe stay whole where Python writes a line at once.
test: $(DEV) ## run all tests
	@PYTHONDONTWRITEBYTECODE= PYTHONUNBUFFERED= $(VENV)/bin/python -m pytest -n $(TEST_WORKERS) --dist worksteal --session-timeout $(TEST_SECONDS) tests $(ARGS)

oldest: $(OLDEST) ## run what depends on other packages with the oldest versions that pyproject.toml allows
	@$(OLDEST_VENV)/bin/python -m pytest -n $(TEST_WORKERS) --dist worksteal --session-timeout $(TEST_SECONDS) \
	  -m "not slow" $(OLDEST_TESTS) $(ARGS)

check: $(DEV) ## lint, formatting and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy --strict

format: $(DEV) ## rewrite the sources in the project's format
	@$(VENV)/bin/ruff check --quiet --fix-only .
	@$(VENV)/bin/ruff format .

bench: $(BENCH) ## measure against other engines, in the same run
	@$(BENCH_VENV)/bin/python -m bench $(ARGS)

chaos: $(DEV) ## kill, freeze and cut off workers, servers and networks until everything is done
	@$(VENV)/bin/python -m tests.chaos $(ARGS)

constraints: ## pin the newest versions of all dependencies in constraints.txt
	$(call environment,$(PIN_VENV))
	@$(PIN_VENV)/bin/python $(PIP) install pip-tools
	@$(PIN_VENV)/bin/pip-compile --quiet --upgrade --strip-extras --no-annotate --no-header --no-emit-options \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --extra redis --extra postgres --extra llm --extra server --extra dev \
	  --output-file $(PIN_VENV)/pins.txt pyproject.toml
	@grep -E '^[a-z0-9._-]+==' $(PIN_VENV)/pins.txt >constraints.txt # without what has an address: this package itself

clean: ## remove the environments and what tools left behind; stores (.tenuto) stay
	@rm -rf $(VENV) $(BENCH_VENV) $(PIN_VENV) $(OLDEST_VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# $(call environment,FOLDER): a usable virtual environment in FOLDER, made with the first suitable Python.
define environment
	@if ! $(1)/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      python=$$candidate; break; \
	    fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "Tenuto needs Python 3.11 or later, and $(or $(PYTHON),python3) is `$(or $(PYTHON),python3) --version 2>&1 | tail -n 1`." >&2; \
	    echo "Install one, or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; \
	  fi; \
	  if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$python cannot make virtual environments: its module venv or ensurepip is missing." >&2; \
	    echo "On Debian and Ubuntu: apt install python3-venv. Then run make again." >&2; exit 1; \
	  fi; \
	  "$$python" -m venv --clear $(1) || exit 1; \
	fi
endef

# $(call install,FOLDER,WHAT[,CONSTRAINTS]): install, with one line for the reader, and advice where it fails.
define install
	@echo "Installing into $(1) (about a minute) ..."
	@$(1)/bin/python $(PIP) install --constraint $(or $(3),constraints.txt) $(2) || { \
	  echo "The installation into $(1) failed; what pip said is above. It needs a package index it can reach." >&2; \
	  exit 1; }
	@touch $@
endef

$(CORE): $(PINS)
	$(call environment,$(VENV))
	$(call install,$(VENV),--editable .)

$(DEV): $(PINS)
	$(call environment,$(VENV))
	$(call install,$(VENV),--editable '.[dev]')
	@touch $(CORE)

$(OLDEST): $(PINS) tests/oldest.py
	$(call environment,$(OLDEST_VENV))
	@$(OLDEST_VENV)/bin/python -m tests.oldest >$(OLDEST_VENV)/oldest.txt
	$(call install,$(OLDEST_VENV),--editable '.[dev]',$(OLDEST_VENV)/oldest.txt)

$(BENCH): $(PINS) bench/requirements.txt
	$(call environment,$(BENCH_VENV))
	$(call install,$(BENCH_VENV),--editable '$(ENGINES)' --requirement bench/requirements.txt)
