# Two commands matter: `make demo` and `make test`. They need Python >= 3.11, pip and make only.
# Another interpreter: make demo PYTHON=python3.12 . Fewer tests: make test PYTEST_ARGS="tests/cli -x".

PYTHON ?= python3
DEMO_OUT ?= demo-out
PYTEST_ARGS ?=
WORKERS ?= 2
NUMERICAL := tests/attribution tests/features tests/scoring tests/refine tests/tune/test_cae_objective.py
OLDEST := .venv-dev/oldest
USER_ENV := .venv
DEV_ENV := .venv-dev
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
DEV := $(DEV_ENV)/$(BIN)
WHEEL := build/wheel
SOURCES := $(shell find src -type f -not -name '*.pyc')

.PHONY: demo test test-slow test-kernels test-oldest nightly coverage lint format format-check types docs wheel wheel-check bench clean

demo: $(USER_ENV)/.installed
	$(USER_ENV)/$(BIN)/clipsight demo --out "$(DEMO_OUT)" --overwrite

test: $(DEV_ENV)/.installed
	$(DEV)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow" $(PYTEST_ARGS)

# What `make test` leaves out: real architectures, compiled code, kills and spawned processes, long sessions.
test-slow: $(DEV_ENV)/.installed
	$(DEV)/python -m pytest -n $(WORKERS) --dist loadfile -m slow $(PYTEST_ARGS)

# The numerical tests again, with the kernels of older processors.
test-kernels: $(DEV_ENV)/.installed
	$(call with_kernels,default,SSE41,COMPATIBLE,1) $(NUMERICAL)
	$(call with_kernels,avx2,AVX2,AVX2,2) $(NUMERICAL)

nightly: test test-slow test-oldest
	$(DEV)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow" --hypothesis-profile searching
	$(call with_kernels,default,SSE41,COMPATIBLE,1) tests
	$(call with_kernels,avx2,AVX2,AVX2,4) tests
	$(call with_kernels,avx512,AVX512_CORE,AUTO,2) tests

# What differs between processors, set by hand: kernels of ATen, oneDNN and MKL, threads (which wait without spinning).
with_kernels = ATEN_CPU_CAPABILITY=$(1) ONEDNN_MAX_CPU_ISA=$(2) MKL_CBWR=$(3) OMP_NUM_THREADS=$(4) OMP_WAIT_POLICY=PASSIVE \
  $(DEV)/python -m pytest -q -n $(WORKERS) --dist loadfile -m "not slow"

# The towers again, beside the oldest open_clip and the oldest transformers that are promised.
test-oldest: $(OLDEST)/.installed
	PYTHONPATH=$(OLDEST) $(DEV)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow" tests/towers tests/checkpoints

lint: $(DEV_ENV)/.installed
	$(DEV)/ruff check .

format: $(DEV_ENV)/.installed
	$(DEV)/ruff check --fix .
	$(DEV)/ruff format .

format-check: $(DEV_ENV)/.installed
	$(DEV)/ruff format --check .

types: $(DEV_ENV)/.installed
	$(DEV)/basedpyright --pythonpath $(DEV)/python

docs: $(DEV_ENV)/.docs-installed
	NO_MKDOCS_2_WARNING=1 $(DEV)/mkdocs build --strict --quiet
	@echo "open site/index.html"

coverage: $(DEV_ENV)/.installed
	$(DEV)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow" --cov=clipsight --cov-report=term:skip-covered \
	  --cov-report=xml $(PYTEST_ARGS)

wheel: $(DEV_ENV)/.installed
	rm -rf dist
	$(DEV)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

# The wheel alone, beside the installed dependencies: all data files are in it, and the demonstration runs from it.
wheel-check: wheel
	rm -rf $(WHEEL)
	$(DEV)/python -m pip install --quiet --no-deps --target $(WHEEL) dist/*.whl
	cd $(WHEEL) && PYTHONPATH=. $(abspath $(DEV))/python -c 'import clipsight; assert "wheel" in clipsight.__file__, clipsight.__file__'
	cd $(WHEEL) && PYTHONPATH=. $(abspath $(DEV))/python -m clipsight demo --out demo-out

bench: $(DEV_ENV)/.installed
	for script in benchmarks/s*.py benchmarks/half_precision.py; do $(DEV)/python "$$script" || exit 1; done

clean:
	rm -rf $(USER_ENV) $(DEV_ENV) site dist build demo-out

# The second line serves distributions that ship Python without ensurepip (Debian's python3 without python3-venv).
define make_env
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "clipsight needs Python >= 3.11, $(PYTHON) is $$($(PYTHON) --version 2>&1); try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv $(1) 2>/dev/null || { $(PYTHON) -m venv --clear --without-pip $(1) && $(PYTHON) -m pip --python $(1)/$(BIN)/python install --quiet pip; }
endef

$(USER_ENV)/$(BIN)/python:
	$(call make_env,$(USER_ENV))

$(DEV_ENV)/$(BIN)/python:
	$(call make_env,$(DEV_ENV))

$(USER_ENV)/.installed: pyproject.toml README.md LICENSE $(SOURCES) | $(USER_ENV)/$(BIN)/python
	@echo "Installing clipsight into $(USER_ENV) (PyTorch is large: the first time takes minutes) ..."
	$(USER_ENV)/$(BIN)/python -m pip install --quiet .
	@touch $@

$(DEV_ENV)/.installed: pyproject.toml | $(DEV_ENV)/$(BIN)/python
	@echo "Installing clipsight and its development tools into $(DEV_ENV) (PyTorch is large: the first time takes minutes) ..."
	$(DEV)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(OLDEST)/.installed: $(DEV_ENV)/.installed
	rm -rf $(OLDEST)
	$(DEV)/python -m pip install --quiet --no-deps --target $(OLDEST) \
	  "open_clip_torch==2.30.0" "transformers==4.56.0" "huggingface_hub<1" "tokenizers<0.23"
	$(DEV)/python -m pip install --quiet --upgrade --target $(OLDEST) requests
	@touch $@

$(DEV_ENV)/.docs-installed: $(DEV_ENV)/.installed
	$(DEV)/python -m pip install --quiet --editable '.[dev,docs]'
	@touch $@
