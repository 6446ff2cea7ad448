# Every target does its own set-up; what it installs on the system it names first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCAL_ROOT := $(HOME)/.local/share/harness

# MXNet's wheel needs libraries of the system, on each architecture its own; everything else of a local run comes from PyPI.
ARCHITECTURE = $(shell dpkg --print-architecture 2>/dev/null)
DEMO_PACKAGES = python3-venv $(shell sed -nE 's/^([a-z][^ ]*)( \[$(ARCHITECTURE)\])?$$/\1/p' ansible/mxnet-packages.txt)
VIRTUAL_PACKAGES := systemd-container mmdebstrap iproute2 nftables openssh-client gcc libc6-dev
IMAGE_PACKAGES := qemu-system-arm qemu-user-static binfmt-support arch-test mmdebstrap fakeroot mtools dosfstools fdisk \
	e2fsprogs uidmap xz-utils openssh-client

# $(call packages,LIST): install what is missing of LIST, as root or through sudo; without either, say the command and stop.
define packages
	@missing=(); for package in $(1); do \
	  [[ "$$(dpkg-query -W -f '$${Status}' $$package 2>/dev/null)" == "install ok installed" ]] || missing+=($$package); done; \
	if (( $${#missing[@]} )); then \
	  echo "installing Debian packages: $${missing[*]}"; \
	  if [[ $$(id -u) == 0 ]]; then run=(env DEBIAN_FRONTEND=noninteractive); \
	  elif command -v sudo >/dev/null; then run=(sudo DEBIAN_FRONTEND=noninteractive); \
	  else echo "run this as root, then again make $(MAKECMDGOALS): apt-get install -y --no-install-recommends $${missing[*]}" >&2; exit 1; fi; \
	  "$${run[@]}" apt-get update -qq && "$${run[@]}" apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi
endef

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: demo-packages $(BIN)/harness ## Install the harness into .venv

.PHONY: demo-packages
demo-packages:
	$(call packages,$(DEMO_PACKAGES))

# One environment for all; which of the optional parts are in it is kept by stamp files.
$(BIN)/harness: pyproject.toml .ci/constraints.txt | demo-packages
	@echo "installing the harness and its libraries into $(VENV)"
	@[[ -x $(BIN)/python ]] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -q --disable-pip-version-check -c .ci/constraints.txt -e .
	@touch $@

$(VENV)/.with-%: $(BIN)/harness
	@echo "installing the libraries for $* into $(VENV)"
	@$(BIN)/pip install -q --disable-pip-version-check -c .ci/constraints.txt -e '.[$*]'
	@touch $@ $(BIN)/harness

.PHONY: runtime
runtime: setup
	@echo "installing MXNet's runtime for this machine into $(LOCAL_ROOT)"
	@$(BIN)/harness provision -i inventory/local

.PHONY: demo
demo: setup ## Train LeNet-5 on 1, 2 and 3 local nodes and make the report, without root
	$(BIN)/harness demo

.PHONY: virtual-packages
virtual-packages:
	$(call packages,$(VIRTUAL_PACKAGES))

.PHONY: image-packages
image-packages:
	$(call packages,$(IMAGE_PACKAGES))

# The kernel runs the image's own programs through QEMU once it is told how; only root can tell it.
.PHONY: binfmt
binfmt: setup image-packages
	@if [[ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]]; then \
	  echo "telling the kernel to run arm64 programs through QEMU"; \
	  if [[ $$(id -u) == 0 ]]; then run=(); else run=(sudo); fi; \
	  "$${run[@]}" $(BIN)/python -m harness.images allow-arm64 <<< '{}' >/dev/null || true; \
	fi

.PHONY: virtual
virtual: setup virtual-packages ## Install what virtual clusters need

.PHONY: image
image: binfmt ## Install what making and proving SD card images needs

.PHONY: test
test: runtime virtual-packages binfmt $(VENV)/.with-test ## Run the test suite but for emulated boards and long walks (as root: the virtual cluster too)
	HARNESS_RUNTIME_PYTHON=$(LOCAL_ROOT)/runtime/bin/python $(BIN)/pytest -m "not emulated and not long" $(PYTEST_ARGUMENTS)

.PHONY: test-slow
test-slow: runtime virtual-packages binfmt $(VENV)/.with-test ## Run what `make test` leaves out: emulated boards, long walks, then every fault (as root)
	HARNESS_RUNTIME_PYTHON=$(LOCAL_ROOT)/runtime/bin/python $(BIN)/pytest -m "emulated or long" $(PYTEST_ARGUMENTS)
	$(MAKE) faults

.PHONY: wheel
wheel: runtime $(VENV)/.with-test ## Build the wheel, install it into an empty environment and run the demo there
	$(BIN)/pytest tests/integration/test_wheel.py

.PHONY: bench
bench: setup virtual-packages ## Measure the project's promises on virtual nodes (as root): one table, and build/bench.json
	$(BIN)/python -m tests.bench $(BENCH_ARGUMENTS)

.PHONY: results
results: setup virtual-packages ## Make the published results again (as root, about 90 minutes, taken up where it was stopped)
	$(BIN)/python -m tests.bench.publish $(RESULTS_ARGUMENTS)

.PHONY: faults
faults: setup virtual-packages ## Make every fault happen on four virtual nodes (as root) and print what came of it
	trap '$(BIN)/harness cluster down --name faults' EXIT; \
	$(BIN)/harness cluster up --name faults --nodes 4 --profile none; \
	$(BIN)/harness provision -i faults; \
	$(BIN)/python -m tests.faults -i "$$($(BIN)/harness cluster inventory --name faults)" $(FAULTS_ARGUMENTS)

# mutmut is wanted here alone.
$(VENV)/.with-mutants: $(VENV)/.with-test
	$(BIN)/pip install --quiet -e '.[mutants]'
	touch $@

.PHONY: mutants
mutants: $(VENV)/.with-mutants ## Change the code in small ways and print which changes no test notices (hours)
	$(BIN)/python -m tests.mutations
	$(BIN)/python -m tests.mutations.tool

.PHONY: lint
lint: setup $(VENV)/.with-lint ## Check style, types and playbooks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline --profile production

.PHONY: docs
docs: setup ## Make the generated pages again: the roles' READMEs, the columns, train.py's parameters
	$(BIN)/python ansible/readmes.py
	$(BIN)/python -m harness.report.reference > docs/reference/columns.md
	$(BIN)/python -m harness.report.reference train.py > docs/reference/train.md

.PHONY: clean
clean: ## Remove what the targets above made here (results are kept)
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible *.egg-info
