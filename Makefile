# One command for each thing one does here. Everything stays inside this folder, in .venv; only
# system packages that are missing (python3-venv, redis-server) are installed outside of it.
# The newest Python found is taken; `make PYTHON=python3.12 ...` names another.

VENV := .venv
IN_VENV := $(VENV)/bin/python
PIP := $(IN_VENV) -m pip -qq --disable-pip-version-check

# An environment whose interpreter was upgraded away, or whose folder was moved, is made afresh.
BROKEN := $(shell test ! -e $(VENV) || \
	{ test "$$(cat $(VENV)/created)" = '$(CURDIR)' && $(IN_VENV) -c pass; } 2>/dev/null || echo broken)

.PHONY: help
help: ## print this help
	@echo "usage: make TARGET"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# -- the two commands of the README

.PHONY: demo
demo: $(VENV)/installed ## set everything up and fingerprint the standard library, without a server
	@$(IN_VENV) docs/examples/fingerprint.py $(DEMO)

.PHONY: test
test: $(VENV)/installed-dev redis ## set everything up and run the whole suite (TESTS=... for a part of it)
	@$(IN_VENV) -m pytest $(TESTS)

MINUTES ?= 10

.PHONY: soak
soak: $(VENV)/installed-dev redis ## break everything at random for MINUTES=10, and count what was lost (SEED=...)
	@$(IN_VENV) -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

.PHONY: bench
bench: $(VENV)/installed-dev redis ## measure everything, a table per question (ONLY=... QUICK=1 WRITE=1 for the page)
	@$(IN_VENV) -m benchmarks.report $(ONLY) $(if $(QUICK),--quick) $(if $(WRITE),--write)

.PHONY: bench-peers
bench-peers: $(VENV)/installed-dev redis ## the same work beside other Python queues, installed under build/ (QUICK=1 WRITE=1)
	@$(IN_VENV) -m benchmarks.report peers $(if $(QUICK),--quick) $(if $(WRITE),--write)

# -- what a change must pass

.PHONY: check
check: format-check lint types layers test ## all that CI runs: format, lint, types, layers, tests

.PHONY: format
format: $(VENV)/installed-dev ## rewrite the code in the house format
	@$(IN_VENV) -m ruff check --quiet --fix-only .
	@$(IN_VENV) -m ruff format .

.PHONY: format-check
format-check: $(VENV)/installed-dev
	@$(IN_VENV) -m ruff format --check .

.PHONY: lint
lint: $(VENV)/installed-dev ## ruff
	@$(IN_VENV) -m ruff check .

.PHONY: types
types: $(VENV)/installed-dev ## mypy (strict), pyright, and whether every public name has a type
	@$(IN_VENV) -m mypy
	@$(IN_VENV) -m pyright --pythonpath $(IN_VENV)

.PHONY: layers
layers: $(VENV)/installed-dev ## who may import whom: the contracts in pyproject.toml
	@$(IN_VENV) -c "from importlinter.cli import lint_imports_command as run; run()" --no-logo

.PHONY: mutations
mutations: $(VENV)/installed-dev redis ## switch off one mechanism after the other and see a test fail (ONLY=... for some)
	@$(IN_VENV) -m tests.faults.mutate $(ONLY)

.PHONY: clean
clean: ## remove everything that was made here, the virtual environment too
	rm -rf $(VENV) build dist *.egg-info htmlcov .coverage
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- set-up: each stamp is made again when pyproject.toml changes

$(VENV)/created: $(BROKEN)
	@python=$$(.ci/find-python) && echo "creating $(VENV) with $$python" && \
		"$$python" -m venv --clear $(VENV)
	@echo '$(CURDIR)' >$@

$(VENV)/installed: $(VENV)/created pyproject.toml
	@echo "installing taskrunner into $(VENV)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "installing the tools for development into $(VENV)"
	@$(PIP) install --editable '.[dev]'
	@touch $@

.PHONY: redis
redis:
	@.ci/find-redis

.PHONY: broken
broken:
