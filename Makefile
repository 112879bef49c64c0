.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE := 1
export DO_NOT_TRACK := 1

.PHONY: help setup demo check test integration bench format clean

help: ## Show what can be done
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.setup-stamp ## Make the virtual environment with everything (driftwarden[all] and the developer tools)

$(VENV)/.setup-stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "driftwarden needs Python 3.11 or newer; set PYTHON=python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]' -r requirements-dev.txt
	touch $@

demo: setup ## Train, register, replay two weeks with three incidents, judge, and serve on http://127.0.0.1:8000
	$(BIN)/driftwarden demo $(DEMO_ARGS)

check: setup ## Lint, types, import rules, dependency rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: setup ## Format and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup ## Run all tests; what needs a missing service is skipped and says so
	$(BIN)/pytest -q

integration: setup ## Run only the tests against real PostgreSQL, Prometheus, MLflow and Chromium
	$(BIN)/pytest -q -m 'integration or browser'

bench: setup ## Run the benchmarks but the longest (bench.power, bench.false_alarms, bench.verdict); results go to bench/results
	for f in capture comparison memory embed mmd calibration conditional combination scale quality_intervals; do $(BIN)/python bench/$$f.py || exit 1; done
	$(BIN)/python -m bench.knn_kl

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis driftwarden-demo
