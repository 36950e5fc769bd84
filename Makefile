# Needs python3 (3.11 or newer, with venv), git and make. Everything else is installed into .venv, and asv's environments
# and pages lie in .asv: `make clean` removes both. Another interpreter: make PYTHON=python3.12 test

PYTHON ?= python3
# --quick starts workers once where their start is timed, and not twice. All else has its rounds in either case.
ASV_ARGS ?= --quick
COMMIT ?= HEAD^!
PYTEST_ARGS ?=
PORT ?= 8080
BASE ?= origin/main

BIN := .venv/bin
# asv, and the tests that run it, look for uv on PATH: it builds the environments of the release sets.
WITH_PATH = PATH="$(CURDIR)/$(BIN):$$PATH"
ASV = $(WITH_PATH) $(BIN)/asv
# Compiled now, and not by every process that imports scikit-learn where nothing may write bytecode.
INSTALL = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python

.PHONY: help bench preview gate test lint clean
.NOTPARALLEL:

help:
	@echo 'make bench    measure this commit with every release set, publish the pages, print the speedups'
	@echo 'make preview  look at the pages, on this machine only'
	@echo 'make gate     measure the working tree against BASE (origin/main): is it worse?'
	@echo 'make test     run the tests'
	@echo 'make lint     check style, format and types'
	@echo 'make clean    remove everything that these made, but not results/'

# asv asks about this machine once, and takes what it sees for the answers. Failed benchmarks do not keep the others from
# being published and printed; make fails after that.
bench: .venv/.bench
	@grep -qsF "\"$$(uname -n)\"" ~/.asv-machine.json || $(ASV) machine --yes >/dev/null
	@failed=0; \
	$(ASV) run $(ASV_ARGS) --record-samples --show-stderr '$(COMMIT)' || failed=$$?; \
	$(ASV) publish || failed=$$?; \
	$(BIN)/infbench history || failed=$$?; \
	echo; \
	echo 'The pages are in .asv/html. Look at them with: make preview'; \
	test $$failed = 0 || echo "Something above failed (exit code $$failed)." >&2; \
	exit $$failed

# Not `asv preview`, which listens on every network interface.
preview: .venv/.bench .asv/npm/.done
	@$(ASV) publish
	@echo 'Open http://127.0.0.1:$(PORT)/speedup/ in a browser; Ctrl-C ends this. Another port: make preview PORT=8081'
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory .asv/html $(PORT)

gate: .venv/.bench
	@$(BIN)/infbench gate --base '$(BASE)'

# What asv's own pages load, so that they open without a network too. Without npm they stay as they are.
.asv/npm/.done: npm/package.json npm/package-lock.json
	@mkdir -p .asv/npm
	@cp npm/package.json npm/package-lock.json .asv/npm/
	@npm ci --prefix .asv/npm --ignore-scripts --no-audit --no-fund --loglevel=error && touch $@ || \
	echo "npm failed or is missing: asv's own pages will load their scripts from a network." >&2

# With bytecode, whatever the environment says: the tests start hundreds of programs, and each would compile infbench.
# Three at once also on two CPUs: half of the time tests wait for what they have started.
test: .venv/.test
	$(WITH_PATH) env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses 3 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .asv build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says that its packages are installed; a change of either list of them makes it out of date.
.venv/.bench: .venv/.uv pyproject.toml requirements.txt
	$(INSTALL) --editable '.[bench]'
	@touch $@

.venv/.test: .venv/.uv pyproject.toml requirements.txt
	$(INSTALL) --editable '.[test,bench]'
	@touch $@

.venv/.lint: .venv/.uv pyproject.toml requirements.txt
	$(INSTALL) --editable '.[lint]'
	@touch $@

.venv/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'infbench needs Python 3.11 or newer, which $(PYTHON) is not. Name one: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	{ echo '$(PYTHON) has no venv. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@
