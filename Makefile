# Two commands for a newcomer: make demo, make test. Everything sets itself up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := train,report,results,test,lint,docs
TORCH := torch==2.13.0
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help venv demo test test-all test-gpu lint format bench bench-kernels docs peers clean

help:
	@echo "make demo      train, package, compile and evaluate a silicon potential; writes demo-out/report.html"
	@echo "make test      the tests a change must pass (about 10 minutes on 2 cores)"
	@echo "make test-all  these, the slow ones and those against other programs (builds make peers first)"
	@echo "               ARGS=\"...\" goes to pytest: make test-all ARGS=\"-k equal -s\""
	@echo "make test-gpu  the tests that need a CUDA device"
	@echo "make lint      ruff and mypy          make format  let ruff mend what it can"
	@echo "make docs      the manual in docs/_build/html"
	@echo "make bench     speed beside NequIP and torch-sim (builds make peers first)"
	@echo "make bench-kernels     native kernels beside NequIP's compiled file, LAMMPS and nequip-train (45 minutes with 3BPA:"
	@echo "               BPA=FOLDER of its data set)"
	@echo "make peers     environments of the programs we compare with, in .venv-peers/"

# torch goes in first, by itself: a torch that is there already is not replaced by a larger build
$(VENV)/ready: pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once, a minute or two) ..."
	@start=$$(date +%s); \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Shoal needs Python 3.11 or newer; say which with PYTHON=...")' && \
	$(PYTHON) -m venv $(VENV) && \
	$(PIP) install --quiet $(TORCH) && \
	$(PIP) install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]' && \
	touch $@ && echo "Set-up took $$(( $$(date +%s) - start )) s."

venv: $(VENV)/ready

demo: venv
	$(BIN)/shoal demo

test: venv
	$(BIN)/python -m pytest -m "not slow and not peer and not gpu" $(ARGS)

test-all: venv peers
	$(BIN)/python -m pytest -m "not gpu" $(ARGS)

test-gpu: venv
	$(BIN)/python -m pytest -m gpu $(ARGS)

lint: venv
	$(BIN)/ruff check src tests benchmarks examples docs peers
	$(BIN)/ruff format --check src tests benchmarks examples docs peers
	$(BIN)/mypy

format: venv
	$(BIN)/ruff check --fix src tests benchmarks examples docs peers
	$(BIN)/ruff format src tests benchmarks examples docs peers

docs: venv
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

peers:
	PYTHON=$(PYTHON) peers/build.sh

bench: venv peers
	benchmarks/run.sh

bench-kernels: venv peers
	benchmarks/run.sh kernels compile_time limit lammps train_epochs

clean:
	rm -rf $(VENV) docs/_build demo-out .pytest_cache .mypy_cache .ruff_cache
