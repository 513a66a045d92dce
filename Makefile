# Each target sets up its own .venv first and needs nothing but Python 3.11+, git and a network.

PYTHONS ?= python3 python3.12 python3.11 python3.13 python3.14
PYTEST_ARGS ?= -n 2 --dist loadfile
PY := .venv/bin/python
SETUP := .venv/.set-up

.PHONY: help quickstart reproduce test test-all test-parity parity-table beam-env test-beam docs lint format audit licences clean

help:
	@echo "make quickstart   train both stages on open faces on this machine and draw a sample sheet"
	@echo "make reproduce    the paper's tables on open faces, in some hours: docs/results/reproduction.md"
	@echo "make test         run the tests, some minutes"
	@echo "make test-all     run all tests, slow ones too, and build the site"
	@echo "make test-parity  install torch and the originals and run the tests that compare with them"
	@echo "make parity-table run those again and write what they measure into docs/results/parity.md"
	@echo "make test-beam    install Apache Beam in .venv-beam and run the tests of builds by many machines"
	@echo "make docs         build the documentation into site/"
	@echo "make lint         check the style"
	@echo "make format       mend the style"
	@echo "make audit        ask PyPI for known vulnerabilities of the pinned packages"
	@echo "make licences     write licences.json: the installed packages and their SPDX licences"
	@echo "make clean        remove .venv and the caches; runs/ and datasets/ stay"

# Huge pages spare XLA a page fault for every 4 KiB of every temporary buffer it allocates; a C
# library that does not know the setting ignores it. Small convolutions run about 15 % faster through
# Eigen than through YNNPACK, XLA's choice on a CPU.
FAST := GLIBC_TUNABLES=glibc.malloc.hugetlb=1 \
	XLA_FLAGS="--xla_cpu_experimental_ynn_fusion_type= $$XLA_FLAGS"

quickstart: $(SETUP)
	$(FAST) $(PY) -m auface_jax.train --config configs/stage2.py:quickstart $(ARGS)

reproduce: $(SETUP)
	$(FAST) $(PY) -m auface_jax.reproduce --tables 2,5,6 --preset quickstart --figures $(ARGS)

# What a newcomer runs: every command once from end to end, and every law that does not need a
# minute of its own.
test: $(SETUP)
	$(PY) -m pytest -m "not slow" $(PYTEST_ARGS)

# Everything: slow tests, more examples of each property, parity with whatever originals are
# installed, and the site with warnings as errors.
test-all: docs
	HYPOTHESIS_PROFILE=thorough $(PY) -m pytest $(PYTEST_ARGS)

test-parity: .venv/.set-up-parity
	$(PY) -m pytest -m parity $(PYTEST_ARGS)

parity-table: .venv/.set-up-parity
	$(PY) -m benchmarks.parity $(PYTEST_ARGS)

beam-env: .venv-beam/.set-up

test-beam: .venv-beam/.set-up
	.venv-beam/bin/python -m pytest tests/data/build/test_build_beam.py

docs: .venv/.set-up-docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

lint: $(SETUP)
	$(PY) -m ruff check .
	.venv/bin/shellcheck launch/*.sh

format: $(SETUP)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# --strict: a package that the database does not know is an error, and so is one out of reach.
audit: $(SETUP)
	$(PY) -m uv tool run pip-audit==2.10.1 --requirement constraints.txt --no-deps \
		--disable-pip --strict

licences: $(SETUP)
	$(PY) -m uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py environment $(PY) \
		--output-format JSON --output-file licences.json

clean:
	rm -rf .venv .venv-beam .cache .pytest_cache .ruff_cache .hypothesis build site *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python that runs, is new enough and can make environments. (A name on the path is not
# enough: version managers leave shims there for Pythons that are not active.) uv installs several
# times faster than pip; where it cannot be had or cannot reach the index that pip is set up for,
# pip does the work.
$(SETUP): pyproject.toml constraints.txt
	@$(PY) -m pip --version >/dev/null 2>&1 || { \
		for python in $(PYTHONS); do \
			if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
				>/dev/null 2>&1; then \
				echo "Making .venv with $$($$python --version)"; \
				exec $$python -m venv --clear .venv; \
			fi; \
		done; \
		echo "No usable Python among: $(PYTHONS). This project needs Python 3.11 or newer with its" \
			"venv module (Debian and Ubuntu: apt install python3-venv). If yours has another name:" \
			"make $(or $(MAKECMDGOALS),quickstart) PYTHONS=/path/to/python" >&2; \
		exit 1; }
	@echo "Installing the packages"
	@{ $(PY) -m pip install -q uv \
		&& $(PY) -m uv pip install -q --python $(PY) -c constraints.txt -e '.[dev,tensorboard]'; } \
		|| { echo "uv could not; installing with pip"; \
			$(PY) -m pip install -q -c constraints.txt -e '.[dev,tensorboard]'; }
	@touch $@

.venv/.set-up-parity: $(SETUP)
	$(PY) -m pip install -q -c constraints.txt -e '.[parity]'
	@touch $@

.venv/.set-up-docs: $(SETUP)
	$(PY) -m pip install -q -c constraints.txt -e '.[docs]'
	@touch $@

# What a build by many machines needs and no more: Beam wants an older protobuf and numpy than
# training has, and none of its packages is compiled here.
.venv-beam/.set-up: $(SETUP) constraints-beam.txt
	@echo "Installing Apache Beam"
	@$(PY) -m venv --clear .venv-beam
	@.venv-beam/bin/python -m pip install -q --only-binary :all: -r constraints-beam.txt
	@.venv-beam/bin/python -m pip install -q --no-deps -e .
	@touch $@
