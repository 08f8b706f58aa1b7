# Everything here needs only `python3` (3.11 or newer) and `make`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install -c constraints.txt

.PHONY: help demo test test-fast check format install docs clean bench-journey bench-data bench-train bench-plan bench-startup bench-serve bench-parity bench-gateway bench-flows bench-adapters

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(VENV)/.run: pyproject.toml constraints.txt
	@echo "Installing Phoundry into $(VENV) (the first time takes a few minutes) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Installing what the tests need …"
	@$(PIP) -e '.[dev]'
	@touch $@

install: $(VENV)/.run  ## Make .venv and install Phoundry with everything it needs

demo: $(VENV)/.run  ## The whole journey on a real model and real data, in about five minutes
	@$(BIN)/phoundry demo

# Four pytest processes (those that wait for a worker leave the cores to others) and the workers they
# start share the machine: one thread each, and no spinning.
test test-fast: export OMP_NUM_THREADS := 1
test test-fast: export OMP_WAIT_POLICY := passive

test: $(VENV)/.dev  ## Install what the tests need and run them all
	@$(BIN)/python -m pytest -n 4 --dist loadgroup

test-fast: $(VENV)/.dev  ## The tests that take no real model
	@$(BIN)/python -m pytest -n 4 --dist loadgroup -m "not slow and not real_model"

check: $(VENV)/.dev  ## Format, lint, types, layers and tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

format: $(VENV)/.dev  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.dev  ## Build the site of the documentation into build/docs
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "Open build/docs/index.html"

bench-journey: $(VENV)/.run  ## Time the demonstration on an empty home, with its memory
	@$(BIN)/python benchmarks/journey.py

bench-data: $(VENV)/.run  ## Time reading, tokenising and packing beside datasets.map
	@$(BIN)/python benchmarks/data.py

bench-train: $(VENV)/.run  ## Time fine-tuning beside TRL's SFTTrainer (GPU=1: Phi-3-mini on a GPU)
	@$(BIN)/python -m benchmarks.train $(if $(GPU),--gpu) $(BENCH)

bench-plan: $(VENV)/.run  ## Plan a fine-tune, run it, and compare time, memory and disk
	@$(BIN)/python -m benchmarks.plan $(BENCH)

bench-startup: $(VENV)/.run  ## Time phoundry --help
	@$(BIN)/python benchmarks/startup.py

bench-serve: $(VENV)/.run  ## Time an endpoint beside the bare engine and transformers
	@$(BIN)/python -m benchmarks.serve $(BENCH)

bench-parity: $(VENV)/.run  ## Measure how far each quantisation is from the checkpoint
	@$(BIN)/python -m benchmarks.parity $(BENCH)

bench-gateway: $(VENV)/.run  ## Time the gateway with a replica that does nothing
	@$(BIN)/python -m benchmarks.gateway $(BENCH)

bench-flows: $(VENV)/.run  ## Time flows beside promptflow: one call, a chain, a batch, a server
	@$(BIN)/python -m benchmarks.flows $(BENCH)

bench-adapters: $(VENV)/.run  ## Weigh ten fine-tunes that share a process
	@$(BIN)/python -m benchmarks.adapters $(BENCH)

clean:  ## Remove the environment and caches (never your PHOUNDRY_HOME)
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
