# Everything runs in .venv, which `make setup` creates from requirements.lock. CI calls only these targets.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 1-150
PORT ?= 4100
export DBT_SEND_ANONYMOUS_USAGE_STATS := false

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-slow test-newest test-spark test-spark-slow java torture lint docs bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/installed profiles.yml ## Create .venv and, if it is missing, profiles.yml

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

profiles.yml:
	cp profiles.example.yml profiles.yml

demo: setup ## From sample spend logs to a local AnyCost; nothing leaves this machine
	$(BIN)/python -m tools.demo

serve: setup ## The service and its page on the demo's data, with a local AnyCost; PORT=4100. With your own data: loader serve
	$(BIN)/python -m tools.demo serve $(PORT)

test: setup ## All tests, on DuckDB and on a real PostgreSQL with LiteLLM's own migrations
	$(BIN)/pytest -n auto --maxprocesses=4 --dist worksteal

test-slow: setup ## The tests that take minutes each, which `make test` leaves out
	$(BIN)/pytest -n auto --maxprocesses=4 --dist worksteal -m slow

# The newest Python that pyproject.toml allows; `make test` runs on the oldest one in CI.
NEWEST = $(shell for each in python3.13 $(HOME)/.pyenv/versions/3.13.*/bin/python3.13; do \
	"$$each" -c 'import ensurepip' 2>/dev/null && echo "$$each" && break; done)

.venv-newest/installed: requirements.lock pyproject.toml
	$(NEWEST) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	.venv-newest/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

test-newest: ## The unit tests on Python 3.13, if it is installed
	@if [ -z "$(NEWEST)" ]; then echo "Python 3.13 is not installed: not tested with it."; else \
		$(MAKE) .venv-newest/installed && \
		.venv-newest/bin/pytest -q -n auto --maxprocesses=4 tests/unit; \
	fi

torture: setup ## Hundreds of random schedules of pushes and dbt runs, killed and cut; SEEDS=17 plays one again
	TORTURE_SEEDS=$(SEEDS) $(BIN)/pytest -q -n auto --maxprocesses=4 tests/engines/test_torture.py tests/engines/test_disturbed_runs.py

test-spark: java .venv-spark/installed ## The models on Apache Spark, compared with DuckDB and PostgreSQL (installs Java 17 on Debian)
	.venv-spark/bin/pytest tests/spark

test-spark-slow: java .venv-spark/installed ## The Spark tests that take minutes each, which `make test-spark` leaves out
	.venv-spark/bin/pytest tests/spark -m slow

# Spark needs Java 17 or later: installed from Debian as root, otherwise an error message.
java:
	@has_java() { java -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])'; }; \
	if ! has_java && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -q && apt-get install -q -y --no-install-recommends default-jre-headless; \
	fi; \
	has_java || { \
		echo "Spark needs Java 17 or later, which is not installed. On Debian: apt-get install default-jre-headless" >&2; \
		exit 1; \
	}

# A separate environment, because PySpark alone is 490 MB.
.venv-spark/installed: requirements.lock requirements-spark.lock pyproject.toml
	$(PYTHON) -m venv .venv-spark
	.venv-spark/bin/pip install --quiet --disable-pip-version-check -r requirements.lock -r requirements-spark.lock
	.venv-spark/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

lint: setup ## ruff, mypy, sqlfluff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tools.lint_sql

docs: setup ## dbt's documentation site in target/, docs/cli.md from --help, and the vars in docs/settings.md
	$(BIN)/python -m tools.cli_docs
	$(BIN)/python -m tools.vars_docs
	$(BIN)/dbt docs generate --static
	@echo "open target/static_index.html"

bench: setup ## Seconds, memory and ratios, up to 10,000,000 spend logs of 30 days (more than an hour)
	$(BIN)/python -m bench.main

COMPILE := pip-compile --quiet --allow-unsafe --generate-hashes --no-emit-find-links --no-emit-index-url \
	--no-emit-trusted-host --no-strip-extras

lock: ## Update the lock files (needs pip-tools)
	$(COMPILE) --extra=dev --extra=s3 --extra=serve --output-file=requirements.lock pyproject.toml
	$(COMPILE) --extra=s3 --extra=serve --build-deps-for=wheel --constraint=requirements.lock --output-file=requirements-image.lock pyproject.toml
	$(COMPILE) --extra=spark --constraint=requirements.lock --output-file=requirements-spark.lock pyproject.toml

clean: ## Remove what dbt, the demo and the tests created; not spend.duckdb, which holds history
	rm -rf target logs demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
