# `make course` runs every lesson, `make test` checks everything; both set up .venv first, and again whenever
# pyproject.toml changes. docs/install.md lists all commands.
# Another interpreter: make course PYTHON=/opt/python3.12/bin/python3

VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
READY := $(VENV)/ready
PYTHON ?=
RANGE := >=3.11,<3.14
UV := $(shell command -v uv 2>/dev/null)
# Bytecode is written here, once, as pip does: where PYTHONDONTWRITEBYTECODE is set, as in many containers, each process
# would compile torch anew, four seconds before it answers and four more at its first optimizer.
INSTALL := $(if $(UV),uv pip install --compile-bytecode --python $(BIN)/python,$(BIN)/python -m pip install)
TORCH_FITS := $(BIN)/python -c 'import torchvision' 2>/dev/null

.PHONY: course test mutants stress flakes bench lab notebooks editions gpu gpu-pack setup chromium

course: setup
	$(BIN)/cambook course

lab: setup
	$(BIN)/cambook lab $(ARGS)

notebooks: setup
	$(BIN)/cambook notebooks

# The lessons as online notebooks, for Colab and Kaggle; ARGS=FOLDER for another folder.
editions: setup
	$(BIN)/python benchmarks/editions.py $(or $(ARGS),runs/editions)

# Every benchmarks/bench_*.py, then the table in docs/results.md; ARGS="maps data" for some. An idle machine, ten minutes.
bench: setup
	$(BIN)/python benchmarks/bench.py $(ARGS)

# What `make gpu` needs on a machine without a network: .gpu, 53 MB. ARGS="--data FOLDER" says where the photographs are.
gpu-pack: setup
	$(BIN)/python benchmarks/gpu_pack.py $(ARGS)

# Every stage once, in nine minutes; again: what is left. It sets nothing up, since a machine with a GPU has its own
# torch and often no network. ARGS=--dry: the same code on a CPU, in half a minute, with tiny sizes.
GPU_PYTHON := $(if $(wildcard $(READY)),$(BIN)/python,$(or $(PYTHON),python3))
gpu:
	@$(GPU_PYTHON) benchmarks/gpu.py $(ARGS)

# The fast tests 20 times, each time in another order of files and of tests in a file; it stops at the first failure.
# Only 20 runs or more that all passed replace the record, and at their end: a test compares it with docs/trust.md.
# make flakes N=1 SEED=17 is one run again.
SLOW := browser colab distributed kill mutants notebooks packaging real_photographs wheel
FAST := $(filter-out $(SLOW:%=tests/test_%.py),$(wildcard tests/test_*.py))
ORDERS := $(VENV)/flakes.csv
flakes: N := 20
flakes: setup
	@printf '# make flakes: the fast tests in random orders\nseed,result,date\n' > $(ORDERS); \
	ended=passed; \
	for run in $$(seq $(N)); do \
	    seed=$(or $(SEED),$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')); \
	    echo "run $$run of $(N): seed $$seed"; \
	    $(BIN)/python -m pytest -q -x --random-order --random-order-seed=$$seed $(FAST) || ended=failed; \
	    echo "$$seed,$$ended,$$(date +%F)" >> $(ORDERS); \
	    [ $$ended = passed ] || break; \
	done; \
	[ $$ended = passed ] || \
	    { echo "Seed $$seed fails: make flakes N=1 SEED=$$seed makes this run again."; exit 1; }; \
	[ $(N) -lt 20 ] || mv $(ORDERS) data/results/flakes.csv

# All of it in one pytest, whose last lines count everything, by two workers: see tests/conftest.py.
test: setup chromium
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --nbval --nbval-current-env --nbval-sanitize-with tests/nbval.cfg tests notebooks

# Faults planted in a copy of the package, one at a time: the tests must catch each. ARGS takes file names, for some.
mutants: setup
	$(BIN)/python benchmarks/mutants.py $(ARGS)

# Twenty kills each of what `make test` kills one to three times; data/results/stress.csv
stress: setup
	$(BIN)/python benchmarks/stress.py $(ARGS)

setup: $(READY)

$(BIN)/python:
	@if [ -n "$(UV)" ]; then uv venv --python "$(or $(PYTHON),$(RANGE))" $(VENV); exit; fi; \
	for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	        "$$python" -m venv $(VENV) && exit; rm -rf $(VENV); exit 1; \
	    fi; \
	done; \
	echo "No Python 3.11 to 3.13 here: install one, or uv, or name one with make PYTHON=..."; exit 1

# A pip find-links folder with a +cpu torch gives a torch that torchvision does not fit ("operator torchvision::nms does
# not exist"); then both are taken again, from the index alone.
$(READY): pyproject.toml | $(BIN)/python
	@rm -f $@
	$(INSTALL) -e '.[course,test]'
	@$(TORCH_FITS) || PIP_FIND_LINKS=$(VENV) UV_FIND_LINKS= $(INSTALL) --force-reinstall torch torchvision
	@$(TORCH_FITS) || { echo "torch and torchvision in $(VENV) do not fit together: take both from one source" \
	    "(no pip find-links), remove $(VENV) and run make again."; exit 1; }
	@touch $@

chromium:
	@for browser in $$CAMBOOK_CHROMIUM chromium chromium-browser google-chrome google-chrome-stable; do \
	    if command -v "$$browser" >/dev/null; then exit; fi; \
	done; \
	root=$$([ "$$(id -u)" = 0 ] || echo "sudo -n"); \
	if command -v apt-get >/dev/null && $$root true 2>/dev/null; then \
	    $$root apt-get update -qq && $$root apt-get install -y -qq chromium; \
	fi || true
