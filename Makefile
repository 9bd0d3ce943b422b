# All targets work from a fresh clone; everything is installed into .venv, nothing outside it.
# Another interpreter:  make test PYTHON=/path/to/python3.12
# Further arguments:    make demo ARGS="--num_seeds=5 --workdir=runs/five_seeds"

PYTHON ?= python3
ARGS ?=
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-slow lint format benchmark docs docs-links clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\): .*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: .venv/installed  ## Train La-MAML, ER and Online on the packaged MNIST subset, and report; no network needed
	$(PY) -m experiments.demo $(ARGS)

test: .venv/installed-dev  ## Run the tests and the examples in the documentation
	$(PY) -m pytest -n auto --dist=loadfile $(ARGS)

test-slow: .venv/installed-dev  ## Run only the tests marked as slow
	$(PY) -m pytest -n auto --dist=loadfile -m slow $(ARGS)

lint: .venv/installed-dev  ## Check style, format and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: .venv/installed-dev  ## Mend style and format where that can be done mechanically
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

benchmark: .venv/installed  ## Measure updates per second, compile time and memory
	$(PY) -m benchmarks.throughput $(ARGS)

docs: .venv/installed-docs  ## Build the documentation site, whose pages' code runs, in docs/_build/html
	$(PY) -m sphinx -W --keep-going -n -b html docs docs/_build/html
	@echo "The site is docs/_build/html/index.html"

docs-links: .venv/installed-docs  ## Ask every address that the pages link to; needs the network
	$(PY) -m sphinx --keep-going -b linkcheck -D nb_execution_mode=off docs docs/_build/links

clean:  ## Remove build outputs and caches (.venv and results stay)
	rm -rf build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says that a step has been done; a changed dependency list installs again.
.venv/created:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "$(PYTHON) was not found: install Python 3.11 or newer, or name one with make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	  "Python 3.11 or newer is needed, but $(PYTHON) is %d.%d: name another with make PYTHON=..." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	@touch $@

# $(call install,WHAT,STAMPS) names the packages as pip fetches them; errors and warnings appear as they are. A pipe has the
# status of its last command, so that it is the missing stamp which says that pip failed.
define install
@echo "Installing into .venv, which takes a minute or more and 1 GB on the disk:"
@rm -f $(2)
@{ $(PIP) $(1) && touch $(2); } | while read -r first second rest; do case "$$first $$second" in \
  "Collecting "*) printf "%s " "$${second%%[!A-Za-z0-9_.-]*}" ;; \
  "Installing collected") printf "\nUnpacking them ...\n" ;; \
esac; done
@test -e $(lastword $(2))
endef

.venv/installed: .venv/created requirements.txt setup.py
	$(call install,-e .,$@)

.venv/installed-dev: .venv/created requirements.txt setup.py
	$(call install,-e ".[dev]",.venv/installed $@)

.venv/installed-docs: .venv/created requirements.txt setup.py
	$(call install,-e ".[docs]",.venv/installed $@)
