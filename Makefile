# `make lab` for learners, `make test` for contributors, `make help` for the rest.
# PYTHON=python3.12 make lab       chooses the interpreter of a new environment.
# make lab ARGS=--no-browser       gives JupyterLab, or with pytest gives pytest, more arguments.

NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))
CANDIDATES = python3 python3.14 python3.13 python3.12 python3.11
ifndef PYTHON
PYTHON := $(firstword $(shell for name in $(CANDIDATES); do \
    $$name -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$name; done) python3)
endif
VENV    = .venv
BIN     = $(VENV)/bin
WORKERS = $(shell $(PYTHON) -c 'import os; print(min((os.cpu_count() or 1) + 1, 8))')
ARGS    =
UPGRADE = --upgrade
APART   = autograder broken browser docs field javascript notebooks seeded
ROOMS   = $(filter-out $(APART:%=tests/%/),$(sort $(dir $(wildcard tests/*/__init__.py))))
SLOW    = tests/cqrs/test_app.py tests/cqrs/test_app_faults.py tests/lab/test_figures.py
ROUNDS  = 50
PIP     = $(BIN)/python -m pip install --disable-pip-version-check
INSTALL = $(PIP) -qq

# Some machines forbid Python to keep what it compiles: each process of a test would compile the course again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help lab setup test quick flakes lint style types check-notebooks pytest field notebooks seeds bench \
    bench-browser bench-field bench-graders coverage docs constraints format clean

help: ## Show what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1@/p' $(MAKEFILE_LIST) | awk -F@ '{printf "%-22s %s\n", $$1, $$2}'

lab: setup ## Open your copy of the course in JupyterLab
	$(BIN)/eip start $(ARGS)

setup: $(VENV)/.course ## Install what a learner needs

test: $(VENV)/.test ## Prove that all of it works: lint, types, notebooks, tests
	@$(MAKE) --no-print-directory -j 2 types style check-notebooks
	@$(MAKE) --no-print-directory pytest

quick: $(VENV)/.test ## Lint, types, and the tests of ground and patterns in virtual time; CONTRIBUTING says what it leaves out
	@$(MAKE) --no-print-directory -j 2 lint
	$(BIN)/python -m pytest -q -n $(WORKERS) --quick $(SLOW:%=--ignore=%) $(ROOMS) $(ARGS)

flakes: $(VENV)/.test ## Run each async test ROUNDS=50 times, shuffled; ROOMS=tests/saga for one room
	$(BIN)/python -m pytest -q -n $(WORKERS) -o tmp_path_retention_policy=failed \
	    --rounds $(ROUNDS) --order $$(date +%s) $(ROOMS) $(ARGS)

lint: types style ## Check lint, format and types, of the JavaScript too

types: $(VENV)/.test
	$(BIN)/mypy

style: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.javascript

check-notebooks: $(VENV)/.test ## Check the stored form of the notebooks
	$(BIN)/python -m eip_ref.autograder.derive --check
	$(BIN)/python -m eip_ref.autograder.notebooks --check

pytest: $(VENV)/.test
	$(BIN)/python -m pytest -q -n $(WORKERS) tests $(ARGS)

field: $(VENV)/.field build/kafka.done build/quixstreams/.done ## Ask the promises of real systems, those that are installed, and write the table of docs/field
	@$(BIN)/eip field doctor
	$(BIN)/python -m pytest -q --table tests/field $(ARGS)
	$(BIN)/python -m eip_ref.field.table

notebooks: $(VENV)/.test ## Run and store all lessons and solutions; derive the exercises
	$(BIN)/python -m eip_ref.autograder.notebooks
	$(BIN)/python -m eip_ref.autograder.derive

seeds: $(VENV)/.test ## Play 10,000 seeded fault runs of each pattern; ARGS="--seeds 500 saga" for fewer
	$(BIN)/python -m tests.seeded --seeds 10000 --jobs $(WORKERS) $(ARGS)

bench: $(VENV)/.bench ## Compare laboratory and patterns with what is beneath and beside them, and plot it
	$(BIN)/python -m benchmarks.plot $(ARGS)

bench-graders: $(VENV)/.test build/peers/.done ## Compare the grader with nbgrader and otter-grader
	$(BIN)/python -m benchmarks.graders $(ARGS)

bench-field: $(VENV)/.field build/kafka.done ## Compare the adapters of real systems with their clients alone; ARGS="--systems redis-log" for one
	$(BIN)/python -m benchmarks.field $(ARGS)

bench-browser: $(VENV)/.test ## Measure how quickly a demo follows its slider and draws a frame, in a real browser
	$(BIN)/python -m benchmarks.demo_in_browser

coverage: $(VENV)/.test ## Tell which lines of the package the tests run; pages in build/coverage
	$(BIN)/python -m pytest -q -n $(WORKERS) --cov --cov-report term:skip-covered --cov-report html \
	    tests $(ARGS)

docs: $(VENV)/.test ## Write the API pages into build/docs, from the docstrings
	$(BIN)/python -m docs.api_pages

format: $(VENV)/.test ## Fix what lint can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(VENV)/.test ## Choose the newest version of every dependency; UPGRADE= only adds what is new
	$(INSTALL) --target build/uv uv
	build/uv/bin/uv pip compile --quiet $(UPGRADE) --universal --python-version 3.11 \
	    --extra bench --extra field --no-emit-index-url --no-emit-find-links \
	    --no-annotate --no-header pyproject.toml -o constraints.txt
	rm -rf build/uv

clean: ## Remove the environment, build and all caches; a learner's copy and progress stay
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# A stamp says what was installed, so that the next time is quick.

$(VENV)/.course: pyproject.toml constraints.txt $(VENV)/.python
	@echo "Installing the course into $(VENV): about 110 packages, two to five minutes the first time."
	@$(PIP) -c constraints.txt -e ".[course]"
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt $(VENV)/.python
	@echo "Installing the course and its tests into $(VENV) (a few minutes the first time)"
	@$(INSTALL) -c constraints.txt -e ".[test]"
	@touch $(VENV)/.course $@

$(VENV)/.bench: pyproject.toml constraints.txt $(VENV)/.python
	@echo "Installing the course, its tests and the libraries to compare with into $(VENV)"
	@$(INSTALL) -c constraints.txt -e ".[bench]"
	@touch $(VENV)/.course $(VENV)/.test $@

$(VENV)/.field: pyproject.toml constraints.txt $(VENV)/.python
	@echo "Installing the course, its tests and the clients of real systems into $(VENV)"
	@$(INSTALL) -c constraints.txt -e ".[field]"
	@touch $(VENV)/.course $(VENV)/.test $@

build/kafka.done: eip_ref/field/servers/kafka.xml
	@echo "Fetching the jars of Kafka with Maven, where there is one (43 MB)"
	-@mkdir -p build && command -v mvn >/dev/null && mvn -q -f $< && touch $@

build/quixstreams/.done: tests/field/quixstreams.txt $(VENV)/.python
	@echo "Installing Quix Streams into build/quixstreams: it wants an older client of Kafka than ours"
	-@$(BIN)/python -m venv build/quixstreams && \
	    build/quixstreams/bin/python -m pip install -qq --disable-pip-version-check -r $< && touch $@

build/peers/.done: benchmarks/graders_peers.txt pyproject.toml $(VENV)/.python
	@echo "Installing nbgrader and otter-grader into build/peers"
	@$(BIN)/python -m venv build/peers
	@build/peers/bin/python -m pip install -qq --disable-pip-version-check \
	    -r benchmarks/graders_peers.txt -e ".[course]"
	@touch $@

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "$(PYTHON) was not found. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; \
	    exit 1; }
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { \
	    echo "$$($(PYTHON) --version) is too old: the course needs Python 3.11 or newer."; \
	    echo "Install a newer one, or name one: make PYTHON=python3.12"; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "This Python cannot make environments. On Debian or Ubuntu: sudo apt install python3-venv"; \
	    exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@
