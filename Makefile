.DEFAULT_GOAL := help
.PHONY: help setup demo down test unit integration e2e chaos long machine mutants bench count configuration lint format
PYTHON = .venv/bin/python
TERRAFORM_ROOTS = account control environment slot

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing (as root on Debian; elsewhere it says what to install)
	@scripts/setup --browser

demo: ## Start the sandbox, provision it, release and roll back under traffic; leaves it running
	@scripts/setup
	@$(PYTHON) -m sandbox.demo

down: ## End the sandbox: no process and no container is left
	@scripts/setup
	@$(PYTHON) -m sandbox down

test: setup lint ## All that CI runs: lint, unit, integration, end to end
	@$(PYTHON) -m pytest -m "not chaos and not long and not machine"

unit: setup ## The tests that need no service
	@$(PYTHON) -m pytest tests/unit

integration: setup ## One real system each
	@$(PYTHON) -m pytest tests/integration

e2e: setup ## The whole sandbox
	@$(PYTHON) -m pytest tests/e2e

chaos: setup ## The long fault matrix; writes .sandbox/chaos.json
	@$(PYTHON) -m pytest -m chaos tests/chaos

long: setup ## What builds infrastructure of its own: a life under the roles, adopting, provision and destroy
	@$(PYTHON) -m pytest -m long tests/integration tests/e2e

machine: setup ## The machine that releases, as containers: built, a tag to live traffic and back, kills, backup, upgrade
	@scripts/setup --machine
	@$(PYTHON) -m pytest -m machine tests/machine

mutants: setup ## Change the code in small ways; fails unless the unit tests notice 90 % (docs/mutants.md)
	@rm -rf mutants
	@.venv/bin/mutmut run
	@$(PYTHON) scripts/mutants.py

bench: setup ## Measure the release against the same commands by hand
	@$(PYTHON) -m bench

COMMITS = HEAD
count: setup ## Count the code: sizes, widths, structure; COMMITS="v0.1.0 HEAD" compares two
	@$(PYTHON) scripts/count $(COMMITS)

lint: setup ## Formatter, linter, types, import contracts, Terraform's own checks
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@scripts/terraform-checks

configuration: setup ## Write docs/configuration.md from the settings
	@$(PYTHON) scripts/configuration.py

format: setup ## Bring code into form
	@.venv/bin/ruff format --quiet .
	@.venv/bin/ruff check --fix --quiet .
	@terraform fmt -recursive terraform
