# One command each to see, check, change and preview. All of them set up what they need.
STACK ?= dev
PYTHON ?= python3
VENV := .venv
RUN := PYTHONPATH=tests $(VENV)/bin/python
PYTEST := $(RUN) -m pytest --numprocesses 2 --dist worksteal

.PHONY: help demo test test-all test-app test-lowest test-schedules tools lint format preview docs bench wheel setup clean lint-workflows
help:
	@echo "make demo                 from a commit to a running service, on this machine and without AWS"
	@echo "make test                 the quick tests, about six minutes on two cores"
	@echo "make test-all             all tests"
	@echo "make test-schedules       all orders of events that releases are tried with"
	@echo "make test-lowest          the unit tests with the lowest versions that are allowed"
	@echo "make tools                find or make the engine and the builder, and say where they come from"
	@echo "make lint                 what CI checks: ruff and mypy --strict"
	@echo "make format               write the code as ruff formats it"
	@echo "make preview STACK=prod   the real engine's preview of a stack, without AWS"
	@echo "make docs                 write what the code says into docs/"
	@echo "make bench                what the components cost beside the same resources in plain pulumi_aws"
	@echo "make wheel                build the wheel, and run the README's program with it in an empty environment, with each Python"

demo: $(VENV)/ready
	@$(RUN) -m standin.demo

# Which tests are quick: tests/conftest.py. With PYTEST_ARGS, those that they name.
test: $(VENV)/ready tools test-app
	@$(PYTEST) $(if $(PYTEST_ARGS),$(PYTEST_ARGS),--quick)

test-all: $(VENV)/ready tools test-app
	@$(PYTEST) $(PYTEST_ARGS)

# The template's own tests; another service is tested by its pipeline.
test-app: $(VENV)/ready
	@if [ -f app/test_server.py ]; then cd app && ../$(VENV)/bin/python -m unittest --quiet; fi

test-schedules: $(VENV)/ready
	@$(PYTEST) tests/schedules --complete $(PYTEST_ARGS)

# With exactly the lowest versions that are allowed of all that the components and the program need. What the components cost is
# not compared with these: pulumi 3.231 searches a queue of all outputs whenever one of them is resolved.
LOWEST := $(VENV)/lowest
COST := tests/unit/test_bench.py::test_fifty_services_cost_no_more_than_the_same_plain_resources
test-lowest: $(LOWEST)/ready $(VENV)/ready
	@PYTHONPATH=tests $(LOWEST)/bin/python -m pytest --numprocesses 2 --dist worksteal tests/unit --quick --deselect $(COST) $(PYTEST_ARGS)
	@tests/wheel.sh $(LOWEST)/bin/python $(LOWEST)/constraints.txt

$(LOWEST)/ready: requirements.txt components/pyproject.toml tests/lowest.py $(VENV)/ready
	@echo "Installing the lowest versions into $(LOWEST) (about a minute, once)"
	@$(PYTHON) -m venv $(LOWEST)
	@$(PYTHON) tests/lowest.py > $(LOWEST)/constraints.txt
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -e './components[dev]' \
		--constraint $(LOWEST)/constraints.txt
	@touch $@

tools: $(VENV)/ready
	@$(RUN) -m standin.tools setup || true  # the end of the tests says what cannot be had

# The workflows are checked where Go is there.
ACTIONLINT := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/slipway/actionlint-1.7.12/actionlint

lint: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@if command -v go >/dev/null; then $(MAKE) --no-print-directory lint-workflows; \
	else echo "The workflows were not checked: actionlint is built with Go, which is not there."; fi

lint-workflows: $(ACTIONLINT)
	$(ACTIONLINT) -shellcheck= -pyflakes= .github/workflows/*.yml

$(ACTIONLINT):
	GOBIN=$(@D) go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

format: $(VENV)/ready
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

preview: $(VENV)/ready
	@$(RUN) -m standin.preview $(STACK)

docs: $(VENV)/ready
	@$(RUN) -W ignore -m unit.reference > docs/configuration.md
	@$(RUN) -W ignore -m unit.json_schema > docs/stack-file.schema.json
	@$(RUN) -W ignore -m unit.architecture

bench: $(VENV)/ready tools
	@$(RUN) -m bench

wheel: $(VENV)/ready
	@tests/wheel.sh $(VENV)/bin/python

setup: $(VENV)/ready

$(VENV)/ready: requirements.txt components/pyproject.toml
	@echo "Installing Python packages into $(VENV) (about a minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -e './components[dev]'
	@touch $@

clean:
	rm -rf $(VENV) dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
