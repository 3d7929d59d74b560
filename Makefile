# Two commands, each doing all its own set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test vision lint types check clean

demo: $(VENV)/.installed
	$(BIN)/fusenas search emoji --out results/runs/demo --overwrite

test: lint types check

# torchvision is built for one version of torch, which may be another than the pinned one: so an environment of its own.
vision: $(VENV)-vision/.installed
	$(VENV)-vision/bin/pytest -m vision tests/encoders

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed
	$(BIN)/mypy

check: $(VENV)/.installed
	$(BIN)/pytest --numprocesses auto --dist loadfile

# The lock has the hash of every package but torch, whose right build depends on the machine; it comes last. The lock is
# complete, so what its packages need is not looked up: some of them need torch.
$(VENV)/.installed: pyproject.toml requirements.lock constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "fusenas needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

$(VENV)-vision/.installed: pyproject.toml constraints.txt requirements-vision.txt
	$(PYTHON) -m venv $(VENV)-vision
	grep --invert-match '^torch==' constraints.txt > $(VENV)-vision/constraints.txt
	$(VENV)-vision/bin/python -m pip install --quiet --constraint $(VENV)-vision/constraints.txt \
		--requirement requirements-vision.txt --editable '.[dev,vision]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-vision build *.egg-info .mypy_cache .ruff_cache .pytest_cache
