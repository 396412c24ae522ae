# Everything a fresh clone needs: `make demo`, `make heal`, `make test`. Each target prepares what it needs, once, in .venv:
# with uv where that is present, with plain venv and pip where it is not. `make help` lists the targets.

# Which Python .venv is made from, for instance: make test PYTHON=python3.12. Unset: the first 3.11 or newer found.
PYTHON ?=
# More arguments for the command behind a target, for instance: make test ARGS="-k ledger -x"
ARGS ?=
# How many processes share the tests of `make test`; 0 has them run in the one that tells of them, as a debugger needs it:
# make test WORKERS=0 ARGS="--pdb tests/model"
WORKERS ?= 2
# How long `make soak` goes on, and what it draws its jobs from: make soak MINUTES=60 ARGS="--seed 5"
MINUTES ?= 10
# How many jobs of each shape `make kills` kills and resumes.
SEEDS ?= 20
# UV= (empty) does without uv.
UV ?= $(shell command -v uv 2>/dev/null)

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/runtime.stamp
DEV := $(VENV)/dev.stamp
PEERS := $(VENV)/peers.stamp
RAY := $(VENV)/ray.stamp
DOCS := $(VENV)/docs.stamp
POSTGRES := $(VENV)/postgres.stamp

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

.PHONY: demo
demo: $(RUNTIME) ## Measure the Python standard library in supervised worker processes
	$(BIN)/python examples/census.py $(ARGS)

.PHONY: heal
heal: $(RUNTIME) ## Kill the workers of a supervision tree while they work, and see it heal
	$(BIN)/python examples/healing.py $(ARGS)

.PHONY: test
test: $(DEV) ## Run the tests in WORKERS processes, which is two (ten minutes on two cores at most)
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

.PHONY: test-ray
test-ray: $(RAY) ## Run the tests that take Ray, which it installs, on clusters started here (12 to 20 minutes, 3 GB of memory)
	$(BIN)/python -m pytest tests/ray -m ray --timeout=400 -o faulthandler_timeout=460 $(ARGS)

.PHONY: faults
faults: $(DEV) ## Run every fault at each placement by each strategy, fuzz the decoders, kill 500 programs (half an hour)
	$(BIN)/python -m pytest tests/faults -m "stress or not stress" --timeout=600 -o faulthandler_timeout=660 $(ARGS)
	$(BIN)/python -m pytest tests/supervisors/wire tests/turn/test_codec.py tests/records -m hypothesis --hypothesis-profile=stress \
	    --timeout=600 -o faulthandler_timeout=660
	$(BIN)/python -m tests.faults.orphans --programs 500

.PHONY: soak
soak: $(DEV) ## Run random jobs with random faults for MINUTES, and check that nothing is lost, doubled or left
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) $(ARGS)

.PHONY: kills
kills: $(DEV) ## Kill programs with jobs in a store SEEDS times five, resume each to its end, and check that all is exact
	$(BIN)/python -m tests.durability.kills --seeds $(SEEDS) $(ARGS)

.PHONY: test-postgres
test-postgres: $(POSTGRES) ## Run the tests of the store in PostgreSQL with a server, which they start (four minutes)
	$(BIN)/python -m pytest tests/postgres -m postgres $(ARGS)

.PHONY: stress
stress: $(DEV) ## Run the long tests, and the random ones with many more examples
	$(BIN)/python -m pytest -m "(slow or stress or hypothesis) and not faults" --hypothesis-profile=stress \
	    --timeout=600 -o faulthandler_timeout=660 $(ARGS)
	ROUTILUX_STRESS=1 $(BIN)/python -m pytest $$(grep -rl --include='test_*.py' ROUTILUX_STRESS tests) \
	    -o faulthandler_timeout=6060 $(ARGS)

.PHONY: pythons
pythons: $(DEV) ## Resume under each version of Python that is installed what each other one has left
	$(BIN)/python -m tests.runtime.other_pythons

.PHONY: docs
docs: $(DOCS) ## Make a site of the documentation, in build/docs; a warning is an error
	$(BIN)/sphinx-build -c docs -b html -W --keep-going -q . build/docs $(ARGS)

.PHONY: wheel
wheel: $(RUNTIME) ## Build the wheel, in dist
	$(build_wheel)

# Versions that are only in a version manager's folders are put on the path for it.
.PHONY: readme
readme: $(DEV) ## Follow README and tutorial word for word, from the built wheel, under each version of Python installed
	PATH="$$($(BIN)/python -m tests.pythons):$$PATH" $(BIN)/python -m nox --no-error-on-missing-interpreters $(ARGS)

.PHONY: supervision
supervision: $(DEV) ## Hold supervisors to OTP's semantics over a thousand schedules, and to their bounds
	$(BIN)/python -m pytest tests/supervisors/test_otp.py -m "stress or not stress" --timeout=600 \
	    -o faulthandler_timeout=660 $(ARGS)
	$(BIN)/python -m benchmarks.supervision

.PHONY: check
check: $(DEV) ## Check format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(DEV) ## Format the code, and mend what lint can mend safely
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(PEERS) ## Measure routilux beside the machine's limits and its peers (ten minutes): ARGS="--rows hops,start"
	$(BIN)/python -m benchmarks.compare $(ARGS)

.PHONY: growth
growth: $(DEV) ## Measure what a message costs as routines, receivers, payloads and queues grow
	$(BIN)/python -m benchmarks.growth $(ARGS)

.PHONY: gate
gate: $(DEV) ## Fail if a message costs more than its bound: processor time, over that of a fixed loop
	$(BIN)/python -m benchmarks.gate $(ARGS)

.PHONY: clean
clean: ## Remove .venv and everything else the tools left behind
	rm -rf $(VENV) build dist .nox .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each candidate is run, not just looked up: a version manager puts commands on PATH that only print an error.
define find_python
for python in $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.14); do \
    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
    python=; \
done; \
if [ -z "$$python" ]; then echo "No Python 3.11 or newer with venv found; name one: make PYTHON=/path/to/python" >&2; exit 1; fi
endef

ifneq ($(UV),)
versions = >=3.11,<3.14
make_venv = "$(UV)" venv --quiet --python "$(or $(PYTHON),$(versions))" $(VENV)
install = "$(UV)" pip install --quiet --python $(BIN)/python
build_wheel = "$(UV)" build --quiet --wheel --out-dir dist
else
# The pip that comes with Python 3.11 does not know dependency groups yet.
make_venv = $(find_python); "$$python" -m venv $(VENV) && $(install) "pip>=25.1"
install = $(BIN)/python -m pip --disable-pip-version-check install --quiet
build_wheel = $(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist .
endif

# A changed pyproject.toml makes the environment anew: nothing stays in it that is no longer declared.
$(RUNTIME): pyproject.toml
	@echo "Setting up $(VENV) (once)"
	@rm -rf $(VENV)
	@$(make_venv)
	@$(install) --editable ".[rich]"
	@touch $@

$(DEV): $(RUNTIME)
	@echo "Setting up $(VENV) for development (once)"
	@$(install) --group dev
	@touch $@

$(RAY): $(DEV)
	@echo "Setting up $(VENV) for Ray (once)"
	@$(install) --group ray
	@touch $@

$(DOCS): $(RUNTIME)
	@echo "Setting up $(VENV) for the documentation (once)"
	@$(install) --group docs
	@touch $@

# The server is the system's: where it is not there it is installed, if that may be done without being asked.
$(POSTGRES): $(DEV)
	@echo "Setting up $(VENV) for PostgreSQL (once)"
	@$(install) --group postgres
	@$(BIN)/python -m tests.postgres.programs || { \
	    [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get install --yes postgresql && \
	    $(BIN)/python -m tests.postgres.programs; }
	@touch $@

# Who is compared with. Not each of them can be had for each Python and machine: the benchmarks tell who is missing.
$(PEERS): $(RUNTIME)
	@echo "Setting up $(VENV) for benchmarks (once)"
	@$(install) "numpy>=1.26,<3"
	@$(install) --group bench || echo "Not all peers can be had here: they are reported as not installed" >&2
	@touch $@
