# Both targets do all the set-up: a fresh clone needs nothing but Python 3.10 or newer and make.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check
REPORT ?= report

# Where raw benchmark files lie: as set, or a folder beside the project.
ifeq ($(origin NAS_HARNESS_DATA),undefined)
ifneq ($(wildcard ../shared/data/.),)
export NAS_HARNESS_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: report test checks format bench conformance clean

report: $(VENV)/.installed
	$(VENV)/bin/python -m harness.first_run
	$(VENV)/bin/nas-harness reproduce all --quick --out $(REPORT)

test: $(VENV)/.installed-dev checks
	$(VENV)/bin/pytest -n 2 --dist loadfile --no-loadscope-reorder

checks: $(VENV)/.installed-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(VENV)/.installed-dev
	$(VENV)/bin/python benchmarks/lookup.py

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

# Long; it can be stopped and taken up again.
conformance: $(VENV)/.installed-dev
	NAS_HARNESS_HOME=$(or $(NAS_HARNESS_HOME),$(CURDIR)/.conformance) $(VENV)/bin/python tests/conformance.py --jobs 2

clean:
	rm -rf $(VENV) $(REPORT) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
