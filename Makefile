# Everything runs in .venv, made once from the newest suitable Python on the machine.
# PYTHON=/path/to/python3.12 chooses another.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test bench lint docs notebooks constraints floors clean

VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= test
STAMP := $(VENV)/.installed-$(EXTRAS)
# Some targets need other extras than the tests: the demo needs none of them.
install = @$(MAKE) --no-print-directory EXTRAS=$(1) $(VENV)/.installed-$(1)
# Two at a time, a file at a time, in the order of the files: most tests use one core.
PYTEST := python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))

help:  ## list what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo:  ## make a synthetic scene, sharpen it, score it, draw it (in ./demo)
	$(call install,)
	$(BIN)/decametric demo -o demo

test: $(STAMP)  ## run all tests
	$(BIN)/$(PYTEST)

bench: $(STAMP)  ## measure speed and memory, write BENCHMARKS.md
	$(BIN)/python -m tests.benchmarks

lint:  ## ruff, mypy, import-linter
	$(call install,dev)
	$(BIN)/ruff check pipeline tests
	$(BIN)/ruff format --check pipeline tests
	$(BIN)/mypy
	$(BIN)/lint-imports

docs:  ## build the documentation into ./site
	$(call install,docs)
	$(BIN)/python -m mkdocs build --strict

notebooks: $(STAMP)  ## run the notebooks and store their outputs
	$(BIN)/python -m tests.notebook_runs

constraints:  ## write constraints.txt anew from a clean installation on Python 3.11
	rm -rf $(VENV)/constraints && python3.11 -m venv $(VENV)/constraints
	$(VENV)/constraints/bin/pip install --quiet --disable-pip-version-check ".[test]"
	{ grep '^#' constraints.txt; \
	  $(VENV)/constraints/bin/pip freeze --exclude decametric | grep -E '^[A-Za-z0-9_.-]+=='; \
	} > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt
	rm -rf $(VENV)/constraints

# A warning is no error here: what an old library does may be deprecated in a newer one beneath it.
floors:  ## run all tests on Python 3.11 with the oldest libraries that pyproject.toml allows
	rm -rf $(VENV)/floors && python3.11 -m venv $(VENV)/floors
	sed -nE 's/^    "([A-Za-z0-9-]+)(\[.*\])?>=([0-9.]+)".*/\1==\3/p' pyproject.toml > $(VENV)/floors.txt
	$(VENV)/floors/bin/pip install --quiet --disable-pip-version-check -c $(VENV)/floors.txt -e ".[test]"
	$(VENV)/floors/bin/$(PYTEST) -o filterwarnings=default
	rm -rf $(VENV)/floors $(VENV)/floors.txt

clean:  ## remove the environment, the demo and the site
	rm -rf $(VENV) demo site

# The pins are those of Python 3.11; newer ones get newer libraries (rasterio, rioxarray, zarr).
$(STAMP): pyproject.toml constraints.txt
	@python=$(PYTHON); \
	for name in $${python:-python3 python3.13 python3.12 python3.11}; do \
	  if command -v "$$name" > /dev/null && "$$name" -c '$(SUITABLE)' 2> /dev/null; then \
	    found=$$name; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "decametric needs Python 3.11, 3.12 or 3.13; none was found." \
	    "Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	[ -x $(BIN)/python ] || "$$found" -m venv $(VENV)
	@pins=$$($(BIN)/python -c 'import sys; \
	  print("-c constraints.txt" if sys.version_info[:2] == (3, 11) else "")'); \
	echo "Installing decametric into $(VENV) (TensorFlow is large; this takes a few minutes) ..."; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$pins -e ".$(EXTRAS:%=[%])"
	@touch $@
