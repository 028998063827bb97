# make demo   the product at work, no servers needed: its own virtual environment, then 20 seconds
# make test   everything: its own virtual environment, its own servers, all tests
# make torture   the long campaigns: crash schedules by the ten thousand, real servers killed for many minutes
# make bench   what a task costs, beside a raw loop, Celery and Dramatiq: 12 minutes, for docs/performance.md
# make lint   style, types, the dependency rule, what bandit finds
# make audit  known vulnerabilities of what we depend on; asks pypi.org, so it needs the internet and is no part of .ci/run
# make test-lowest   unit and contract tests with the oldest versions of all dependencies that pyproject.toml allows
# make licences   the licences of what an image holds
# make sbom   the same as a bill of materials (CycloneDX), in dist/sbom.json
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# without the tools for development
DEMO_VENV := .venv-demo
# with the peers, and nothing else that a worker's start could stumble over
BENCH_VENV := .venv-bench

LOWEST_VENV := .venv-lowest
# as in the image: with the extras, without tools
SHIPPED_VENV := .venv-shipped

.PHONY: demo test test-lowest torture bench lint audit licences sbom venv servers clean

demo: $(DEMO_VENV)/.installed
	@$(DEMO_VENV)/bin/python -m grid_async_task.demo

$(DEMO_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO_VENV)
	echo '*' >$(DEMO_VENV)/.gitignore
	$(DEMO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

test: venv servers
	@if [ -f .servers/urls ]; then set -a; . ./.servers/urls; fi; $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

# Old releases use what newer ones of their own dependencies have deprecated, or warn in tests without a set-up of
# logging: that is no fault of ours.
test-lowest: $(LOWEST_VENV)/.installed servers
	@if [ -f .servers/urls ]; then set -a; . ./.servers/urls; fi; \
	$(LOWEST_VENV)/bin/python -m pytest -W ignore::DeprecationWarning -W 'ignore:Remove `format_exc_info`:UserWarning' \
		tests/unit tests/contract tests/integration/test_metrics.py tests/integration/test_traces.py

$(LOWEST_VENV)/.installed: pyproject.toml requirements.txt | venv
	rm -rf $(LOWEST_VENV)
	$(PYTHON) -m venv $(LOWEST_VENV)
	echo '*' >$(LOWEST_VENV)/.gitignore
	$(BIN)/uv pip install --quiet --python $(LOWEST_VENV)/bin/python --resolution lowest-direct --editable ".[metrics,otel,recurring]"
	sed '1,/^# tests/d' requirements.txt | $(BIN)/uv pip install --quiet --python $(LOWEST_VENV)/bin/python --requirement -
	touch $@

torture: venv servers
	@if [ -f .servers/urls ]; then set -a; . ./.servers/urls; fi; $(BIN)/python -m pytest -s tests/torture

bench: $(BENCH_VENV)/.installed servers
	@$(BENCH_VENV)/bin/python -m benchmarks --publish

$(BENCH_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	echo '*' >$(BENCH_VENV)/.gitignore
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	touch $@

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive grid_async_task alembic

audit: venv
	@$(BIN)/pip-audit --strict --progress-spinner off . || { echo "make audit: see above; without a way to pypi.org nothing can be said" >&2; exit 1; }

licences: venv $(SHIPPED_VENV)/.installed
	@$(BIN)/pip-licenses --python $(SHIPPED_VENV)/bin/python --format=markdown --order=license --with-urls

sbom: venv $(SHIPPED_VENV)/.installed
	@mkdir -p dist
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.json $(SHIPPED_VENV)/bin/python
	@echo dist/sbom.json

$(SHIPPED_VENV)/.installed: pyproject.toml | venv
	rm -rf $(SHIPPED_VENV)
	$(PYTHON) -m venv --without-pip $(SHIPPED_VENV)
	echo '*' >$(SHIPPED_VENV)/.gitignore
	$(BIN)/uv pip install --quiet --python $(SHIPPED_VENV)/bin/python ".[metrics,otel,recurring]"
	touch $@

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

# The tests start their servers themselves; this sees that there is something to start.
servers:
	@sh tests/servers/provide.sh

clean:
	rm -rf $(VENV) $(DEMO_VENV) $(LOWEST_VENV) $(SHIPPED_VENV) $(BENCH_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
