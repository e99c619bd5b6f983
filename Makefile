# `make run` measures this machine, then trains and prints the examples; `make test` runs every check.
# Needs make and Python 3.11 or newer; everything else goes into .venv.
# Another interpreter: make test PYTHON=/path/to/python3.12; with an extra: make test EXTRAS=cuda

SHELL := /bin/sh
PYTHON ?=
JOBS ?= 2
EXTRAS ?=
VENV := .venv/bin/python

.PHONY: help run test lint env env-test clean

help:
	@echo "make run    train the examples (the first run makes .venv)"
	@echo "make test   ruff, mypy and all tests"
	@echo "make lint   ruff and mypy"
	@echo "make clean  remove .venv and the tools' caches"

run: env
	@$(VENV) -m lamella calibrate
	@$(VENV) examples/digits.py
	@mkdir -p build
	@$(VENV) examples/budget_gpt.py build/gpt_plan.html

test: lint
	$(VENV) -m pytest -q -n $(JOBS)

lint: env-test
	$(VENV) -m ruff check .
	$(VENV) -m mypy src/lamella

env:
	@$(FIND_PYTHON); "$$python" tools/environment.py

env-test:
	@$(FIND_PYTHON); "$$python" tools/environment.py test $(EXTRAS)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

# Sets $python to the first interpreter that really runs and is new enough: a name on PATH may be a
# shim that only prints an error.
define FIND_PYTHON
python=; \
for p in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
    if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
        python=$$p; break; \
    fi; \
done; \
if [ -z "$$python" ]; then \
    echo "make: no Python 3.11 or newer was found (looked for: $(or $(PYTHON),python3, python3.14 ... python3.11))." >&2; \
    echo "      On Debian or Ubuntu: sudo apt install python3; or name one: make PYTHON=/path/to/python3" >&2; \
    exit 1; \
fi
endef
