# Two commands set everything up on a machine with Python 3.10 or later:
#
#   make demo    create .venv, install, run the whole pipeline on handwritten digits
#   make test    create .venv if need be, install what the tests need, run them

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test lint types docs pictures clean

demo: $(VENV)/installed
	$(VENV)/bin/repsim demo

test: $(VENV)/installed-test
	$(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

# Checked as users see it: an ordinary install, where repsim.cli and the others lie inside repsim.
types: $(VENV)/installed-dev
	rm -rf build/types
	$(PIP) --no-deps --target build/types .
	MYPYPATH=build/types $(VENV)/bin/mypy

docs: $(VENV)/installed-dev
	$(VENV)/bin/mkdocs build --strict

pictures: $(VENV)/installed
	$(VENV)/bin/python docs/pictures.py

clean:
	rm -rf $(VENV) build dist site demo *.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "repsim needs Python 3.10 or later; try: make PYTHON=python3.11 demo"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing repsim into $(VENV) ..."
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	@echo "Installing what the tests need ..."
	$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed-test
	@echo "Installing what developers need ..."
	$(PIP) --editable '.[dev]'
	@touch $@
