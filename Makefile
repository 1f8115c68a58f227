# Every target sets itself up from a bare Python >= 3.11; only the package registry is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
INSTALL := $(if $(UV),uv pip install --quiet --compile-bytecode --python $(BIN)/python,$(BIN)/python -m pip install --quiet)
NEW_VENV := $(if $(UV),uv venv --quiet --python $(PYTHON),$(PYTHON) -m venv)

# Arguments of `make demo`.
WEIGHTS ?=
MODEL ?= $(if $(WEIGHTS),squeezenet1_1,lensnet)
OUT ?= jaxlens-out
STEPS ?= $(if $(WEIGHTS),256,80)
WORKERS ?= 2
NEWEST ?= 3.12

.PHONY: help demo test test-slow test-all test-newest test-floor lint format generated bench clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# One stamp per set of extras: a changed pyproject.toml installs again. What comes with the package needs no torch.
$(VENV)/core: pyproject.toml
	@test -d $(BIN) || $(NEW_VENV) $(VENV)
	$(INSTALL) -e .
	@touch $@

$(VENV)/torch: pyproject.toml $(VENV)/core
	$(INSTALL) -e '.[torch]'
	@touch $@

$(VENV)/dev: pyproject.toml $(VENV)/core
	$(INSTALL) -e '.[torch,test,bench,lint]'
	@touch $@

demo: $(VENV)/$(if $(WEIGHTS),torch,core)  ## render 16 neurons into jaxlens-out/ (WEIGHTS=squeezenet1_1.pth for that network)
	$(BIN)/jaxlens render $(MODEL) --weights $(or $(WEIGHTS),DEFAULT) --steps $(STEPS) --out $(OUT)

PYTEST := -m pytest -n $(WORKERS) --dist worksteal -q

test: $(VENV)/dev  ## the quick tests, ten minutes on two cores (WORKERS=2 processes)
	$(BIN)/python $(PYTEST) -m "not slow" $(ARGS)

test-slow: $(VENV)/dev  ## the others: large networks, notebooks, killed jobs, every combination
	$(BIN)/python $(PYTEST) -m slow $(ARGS)

test-all: $(VENV)/dev  ## both
	$(BIN)/python $(PYTEST) $(ARGS)

# The two ends of what pyproject.toml allows, each in an environment of its own. Both need uv, which finds or fetches the Python;
# NEWEST=/path/to/python names one that it does not find.
test-newest:  ## all tests on Python 3.12 with the newest release of everything
	uv venv --quiet --allow-existing --python $(NEWEST) .venv-newest
	uv pip install --quiet --upgrade --python .venv-newest/bin/python -e '.[torch,test,bench]'
	.venv-newest/bin/python $(PYTEST) $(ARGS)

test-floor:  ## all tests on Python 3.11 with the lowest releases that the package itself accepts
	uv venv --quiet --allow-existing --python 3.11 .venv-floor
	uv pip compile --quiet --python-version 3.11 --resolution lowest-direct pyproject.toml -o .venv-floor/floors.txt
	uv pip install --quiet --python .venv-floor/bin/python -c .venv-floor/floors.txt -e '.[torch,test,bench]'
	.venv-floor/bin/python $(PYTEST) $(ARGS)

lint: $(VENV)/dev  ## ruff, the type checker, the contract of imports, the length of files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	PYTHONPATH=. $(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python -m tools.file_lengths

format: $(VENV)/dev  ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generated: $(VENV)/dev  ## rewrite the committed files that need no data (half an hour), and name the others
	$(BIN)/python -m tools.torchvision_table
	$(BIN)/python -m tools.benchmark_page
	$(BIN)/python -m tools.parity_table --all
	@echo "These need more. See --help of each:"
	@echo "  python -m tools.train_lensnet     jaxlens/modelzoo/weights/lensnet.*, an hour on two cores"
	@echo "  python -m tools.natural_spectrum  jaxlens/optvis/param/natural_spectrum.json, from photographs"
	@echo "  python -m tools.gallery           docs/gallery, from SqueezeNet's weights and photographs"

bench: $(VENV)/dev  ## a CPU's records and benchmarks/README.md, half an hour (WEIGHTS=squeezenet1_1.pth for two more)
	$(BIN)/python -m benchmarks.suite cpu $(if $(WEIGHTS),--weights $(WEIGHTS)); status=$$?; \
	$(BIN)/python -m tools.benchmark_page && exit $$status

clean:  ## remove what the other targets made
	rm -rf $(VENV) .venv-newest .venv-floor jaxlens-out .pytest_cache .ruff_cache
