# Needs Python >= 3.11 with venv, and make; everything else is installed into .venv, pinned by hash.
# `make` alone lists the targets.

PYTHON ?= python3
PORT ?= 8000
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
UV := UV_NO_BUILD=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_SYSTEM_CERTS=1 UV_PROJECT_ENVIRONMENT=$(VENV) $(VENV)/tools/bin/uv
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed

# Clients whose dependencies clash with ours and each other's: one environment each, for `make conformance` alone.
CLIENTS := $(patsubst tests/conformance/environments/%.in,$(VENV)/conformance/%/.installed,$(wildcard tests/conformance/environments/*.in))

# The full profile of `make test-full`; point these at services of your own. The ClickHouse server is that of
# CLICKHOUSE_URL, else one is installed by npm and started for the run.
FULL_DATABASE_URL ?= postgresql://postgres@127.0.0.1:5432/kairosroute
FULL_REDIS_URL ?= redis://127.0.0.1:6379/15

# `make faults` makes a database of its own there; it starts a Redis and a ClickHouse server itself.
FAULTS_POSTGRES_URL ?= postgresql://postgres@127.0.0.1:5432/postgres
FAULTS_ARGS ?=

# `make bench` makes a database of its own there, and flushes the Redis database, which must be empty.
BENCH_POSTGRES_URL ?= postgresql://postgres@127.0.0.1:5432/postgres
BENCH_REDIS_URL ?= redis://127.0.0.1:6379/9
BENCH_ARGS ?=

export PORT

.DEFAULT_GOAL := help
.PHONY: help up demo test test-full check conformance conformance-lock node-client browser faults bench format lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

up: $(RUNTIME) ## Install, migrate and serve everything on http://127.0.0.1:8000 (PORT=… elsewhere)
	@exec $(BIN)/python manage.py up

demo: $(RUNTIME) ## The same with a large demo organization: 30 days of simulated traffic
	@exec $(BIN)/python manage.py up --demo large

test: $(DEVELOPMENT) ## Run the suite on the embedded profile
	$(BIN)/pytest -n 2 --dist loadfile $(PYTEST_ARGS)

test-full: $(DEVELOPMENT) ## Run the suite on PostgreSQL, Redis and a ClickHouse server
	DATABASE_URL=$(FULL_DATABASE_URL) REDIS_URL=$(FULL_REDIS_URL) $(BIN)/python -m tests.full $(PYTEST_ARGS)

check: $(DEVELOPMENT) ## Format, lint, types, import contracts, migrations, settings, templates
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	KAIROS_BASE_URL=https://kairosroute.example KAIROS_SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))') \
		$(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python manage.py check_templates

format: $(DEVELOPMENT) ## Format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

conformance: $(DEVELOPMENT) node-client $(CLIENTS) ## Install the foreign clients and run the conformance tests
	$(BIN)/pytest -m conformance $(PYTEST_ARGS)

# The file's hash tells a test whether the environment is the one that the file describes, whatever the clocks say.
$(VENV)/conformance/%/.installed: tests/conformance/environments/%.txt | $(DEVELOPMENT)
	@echo "Installing $(@D) …"
	@$(UV) venv --quiet --clear --python $(BIN)/python $(@D)
	@$(UV) pip install --quiet --python $(@D) --link-mode hardlink --require-hashes --only-binary :all: -r $<
	@sha256sum < $< > $@

conformance-lock: $(VENV)/tools/bin/uv ## Resolve the foreign clients anew and pin them by hash
	@for file in tests/conformance/environments/*.in; do \
		$(UV) pip compile $$file --quiet --upgrade --generate-hashes --only-binary :all: --python-version 3.11 --no-header --no-annotate \
			--output-file $${file%.in}.txt; \
	done

node-client: tests/conformance/node/node_modules/.package-lock.json

tests/conformance/node/node_modules/.package-lock.json: tests/conformance/node/package-lock.json
	cd tests/conformance/node && npm ci --no-audit --no-fund --ignore-scripts
	@touch $@

faults: $(DEVELOPMENT) ## Kill gateway, worker and stores under load and count what was lost (5 minutes)
	cd tests/clickhouse_server && npm ci --no-audit --no-fund --ignore-scripts
	$(BIN)/python -m tests.faults --postgres $(FAULTS_POSTGRES_URL) $(FAULTS_ARGS)

bench: $(DEVELOPMENT) ## Measure the gateway beside nginx, every answer and record checked (15 minutes)
	$(BIN)/python -m benchmarks.gateway --database-url $(BENCH_POSTGRES_URL) --redis-url $(BENCH_REDIS_URL) $(BENCH_ARGS)

lock: $(VENV)/tools/bin/uv ## Resolve the dependencies anew and write uv.lock
	$(UV) lock --upgrade

clean: ## Remove the environment and caches; state in ./var stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis htmlcov .coverage tests/conformance/node/node_modules tests/journeys/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/tools/bin/uv: deploy/uv-requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "KairosRoute needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV), pinned by hash; half a minute, once …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --upgrade --target $(VENV)/tools -r deploy/uv-requirements.txt
	@touch $@

# --inexact: starting the product never removes the development tools of an environment that has them.
$(RUNTIME): uv.lock pyproject.toml $(VENV)/tools/bin/uv
	@$(UV) sync --quiet --frozen --no-dev --inexact
	@touch $@

$(DEVELOPMENT): uv.lock pyproject.toml $(VENV)/tools/bin/uv
	@$(UV) sync --quiet --frozen
	@touch $@ $(RUNTIME)
