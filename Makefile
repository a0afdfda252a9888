# The words of this house. Needs make and Python >= 3.11; everything else is put into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup check test test-s3 test-heavy schedules chaos fuzz demo bench docs lock wheel clean

# `make setup PYTHON=python3.12` picks one; else the first of these that is new enough.
PYTHON ?=
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.12 python3.11 python3.13)
BIN := .venv/bin
STAMP := .venv/.set-up
IS_NEW_ENOUGH := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links pyproject.toml

help:  ## print these words
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "make %-12s %s\n", $$1, $$2}'

setup: $(STAMP)  ## build .venv when it is missing or a lock changed

# pyproject.toml is here for the `emosphere` command: its entry point is written by the last line.
$(STAMP): requirements-dev.lock pyproject.toml
	@if ! $(BIN)/python -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
	  for candidate in $(CANDIDATES); do \
	    if $$candidate -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then python=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "emosphere needs Python 3.11 or newer with its venv module (Debian and Ubuntu: python3-venv). Tried: $(CANDIDATES)." \
	      "Install one, or name it: make setup PYTHON=/path/to/python3.12" >&2; exit 1; \
	  fi; \
	  echo "setup     new .venv from $$($$python --version)"; \
	  $$python -m venv --clear .venv; \
	fi
	@echo "setup     installing requirements-dev.lock (some GB the first time, for torch)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

check: setup  ## lint, format, types, import contracts, and nothing private in tracked files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_house.py -k tracked

# Two processes, since what starts Ray mostly waits for it; each with a Ray of its own. A file's tests share fixtures.
test: setup  ## every test that needs no accelerator and no patience
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not gpu and not heavy"

test-s3: setup  ## the tests of S3 on Ceph's radosgw, with and without versioning (names its Debian packages if missing)
	$(BIN)/python -m tests.radosgw

test-heavy: setup  ## the tests that take minutes
	$(BIN)/python -m pytest -m "heavy and not gpu"

fuzz: setup  ## score 5,000 spoilt files; every one must end as a row (half an hour)
	$(BIN)/python -m tests.fuzz

schedules: setup  ## ten thousand random schedules of commands on one OUT, with pauses, kills and partitions (three quarters of an hour)
	$(BIN)/python -m tests.schedules --store disk --count 5000 --jobs 2
	$(BIN)/python -m tests.schedules --store memory --count 5000 --jobs 2

chaos: setup  ## break everything once, on several Ray nodes and an S3 server; prints the chaos table (half an hour)
	$(BIN)/python -m tests.chaos

demo: setup  ## score the bundled archive into out/demo, print rows and answers
	$(BIN)/python -m jobs.demo demo/archive --out out/demo

# Without Daft's own dependencies: it asks for an older pyarrow, and runs on ours.
bench: setup  ## run every benchmark (hours); results go to benchmarks/results
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.lock
	@set -e; for question in benchmarks/bench_*.py; do echo "bench     $$question"; $(BIN)/python "$$question"; done

docs: setup  ## write the pages and pictures in docs/ that follow from the code
	$(BIN)/python -m emosphere.tables.schema > docs/tables.md.new && mv docs/tables.md.new docs/tables.md
	$(BIN)/python -m docs.write_settings > docs/settings.md.new && mv docs/settings.md.new docs/settings.md
	$(BIN)/python -m docs.write_api > docs/api.md.new && mv docs/api.md.new docs/api.md
	$(BIN)/python -m docs.write_rooms
	$(BIN)/python -m docs.write_pictures --score

lock: setup  ## resolve the locks anew within pyproject.toml's bounds
	$(LOCK) --output-file requirements.lock
	$(LOCK) --group dev --output-file requirements-dev.lock
	echo daft | $(subst pyproject.toml,-,$(LOCK)) --no-deps --no-annotate --output-file requirements-bench.lock

wheel: setup  ## build dist/emosphere-*.whl
	rm -rf build
	$(BIN)/python -m build --wheel --no-isolation

clean:  ## remove what the other words made, .venv excepted
	rm -rf build dist out .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
