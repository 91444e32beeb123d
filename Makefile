# `make help` lists what there is. Two of these are all that a newcomer needs: demo and test.

PYTHON := $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] < (3,13))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
UV := 0.13.9
PIP_AUDIT := 2.10.1
CYCLONEDX := 7.5.0
# $(call LAYER,DIR): an environment of its own, whose packages stand before those of .venv.
LAYER = $(BIN)/uv venv -q --allow-existing -p $(BIN)/python $(1) && \
	$(1)/bin/python -c 'import pathlib, sys, sysconfig; \
	pathlib.Path(sysconfig.get_path("purelib"), "zz_project.pth").write_text(sys.argv[1] + "\n")' \
	"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

# $(call NEW,DIR,PYTHON): an environment, unless there is one; pip comes last into it, so that one
# without pip was interrupted, and is begun again.
NEW = $(1)/bin/python -m pip -V >/dev/null 2>&1 || $(2) -m venv --clear $(1)

.DEFAULT_GOAL := help
ANSIBLE_PYTHON := $(PYTHON)
include compose.mk ansible/ansible.mk benchmarks/bench.mk

.PHONY: help demo test test-fast test-dali test-schemas test-connect test-pythons check-wheels test-kubernetes chart soak lint docs site clean lock versions outdated digests audit sbom prerequisites

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

# A torch for GPUs, 5 GB, is of no use to a machine without one: the demo then does without it.
# SMALL=1 or SMALL= says otherwise.
GPU := $(wildcard /proc/driver/nvidia/version /dev/nvidiactl /dev/dxg)
SMALL ?= $(if $(GPU)$(TORCH_INDEX)$(filter detect,$(TASK))$(wildcard $(VENV)/.installed),,1)

demo: $(if $(SMALL),$(VENV)/.small,$(VENV)/.installed) ## 1,000 real images through a real Kafka and a real Triton, measured (TASK=detect: boxes)
	$(BIN)/python scripts/demo.py $(if $(TASK),--task $(TASK))

test: $(VENV)/.installed lint test-ansible-short test-dali ## lint, types, and all tests on real servers
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow and not soak"
	$(BIN)/python -m pytest -m "slow and not soak" --durations 20

test-fast: $(VENV)/.installed ## the tests that start no server and export no model: about a minute
	FUZZ_INPUTS=100 $(BIN)/python -m pytest -q -n auto --dist loadfile --hypothesis-profile quick \
		-m "not slow and not soak"

test-dali: .cache/dali/.installed ## only the tests of decoding with NVIDIA DALI, on the CPU
	.cache/dali/bin/python -m pytest -q tests/exporter/test_dali.py

test-schemas: $(VENV)/.installed ## only the tests of schema registries, with a real one (fetched once, 109 MB)
	$(BIN)/python -m pytest -q tests/schemas -m "soak or not soak"

# What the bridge alone supports. A path of an interpreter will do, too; uv fetches what is missing.
PYTHONS := 3.11 3.12 3.13 3.14
MACHINES := x86_64 aarch64

test-pythons: $(VENV)/.installed ## the wheel with the bridge alone, on each Python (PYTHONS="3.11 3.14")
	WHEEL_PYTHONS="$(PYTHONS)" $(BIN)/python -m pytest -q tests/cli/test_wheel.py

check-wheels: $(VENV)/.installed ## ask the package index for the bridge's packages as wheels, for each Python, x86-64 and arm64
	@for machine in $(MACHINES); do for python in $(PYTHONS); do \
		resolve="$(BIN)/uv pip compile -q --no-header --only-binary :all: --python-version $$python \
			--python-platform $$machine-manylinux_2_28 -o /dev/null"; \
		$$resolve pyproject.toml && $$resolve --no-deps requirements/bridge.lock || exit 1; \
		echo "Python $$python, $$machine: a wheel of each package"; \
	done; done

test-connect: $(VENV)/.installed ## predictions into PostgreSQL through Kafka Connect (needs postgresql; fetches 230 MB once)
	$(BIN)/python -m pytest -q tests/connect -m "soak or not soak"

test-kubernetes: $(VENV)/.installed ## the chart on a real API server, and KEDA on a real Kafka (builds both: an hour, once)
	$(BIN)/python -m tests.kubernetes.tools
	KUBERNETES_REQUIRED=1 $(BIN)/python -m pytest tests/kubernetes tests/faults/test_pods.py -m "soak or not soak" --timeout 900 --durations 5

chart: $(VENV)/.installed ## package the Helm chart into results/ (needs helm)
	@mkdir -p results
	helm package deploy/helm/triton-kafka --destination results

soak: $(VENV)/.installed ## the fault suite and the fuzzing in their long form; renews docs/reliability.md
	FAULT_IMAGES=20000 FUZZ_INPUTS=100000 FAULT_TABLE=docs/reliability.md \
		$(BIN)/python -m pytest tests/faults tests/fuzz tests/bridge/test_quiet.py -m "soak or not soak" --timeout 7200

lint: $(VENV)/.installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed ## write the pages of docs/ that are made of the code
	$(BIN)/python -m scripts.configuration
	$(BIN)/python -m scripts.metrics_page
	$(BIN)/python -m scripts.contract
	$(BIN)/python -m scripts.chart

site: $(VENV)/.installed ## the documentation as a site, in results/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q
	@echo "open results/site/index.html, or serve it: $(BIN)/mkdocs serve"

prerequisites:
	@fail() { echo "$$1" >&2; exit 1; }; \
	test "$$(uname -sm)" = "Linux x86_64" || fail "This needs Linux on x86-64: Triton is built for nothing else."; \
	test -n "$(PYTHON)" || fail "Python 3.11 or 3.12 is missing: install it (Debian: apt install python3 python3-venv)."; \
	$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || fail "Python's venv module is missing: install it (Debian: apt install python3-venv)."; \
	command -v java >/dev/null || fail "Java is missing: install version 17 or newer (Debian: apt install openjdk-17-jdk-headless)."; \
	java -version 2>&1 | grep -qE 'version "(1[7-9]|[2-9][0-9])' || fail "Java is older than 17: install a newer one (Debian: apt install openjdk-17-jdk-headless)."; \
	command -v mvn >/dev/null || fail "Maven is missing: install it (Debian: apt install maven)."

# TORCH_INDEX=URL: a package index that has torch without CUDA, which the lock file's index has not.
# All else is as the lock file says; torch and torchvision have its versions, and no hashes.
CPU_TORCH = awk '/^[a-z0-9]/ { keep = $$0 !~ /^((torch|torchvision|triton)==|cuda-|nvidia-(cu|nccl|nv))/ } keep' \
		requirements/all.lock > $(VENV)/cpu.lock && \
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --require-hashes -r $(VENV)/cpu.lock && \
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --default-index $(TORCH_INDEX) \
		$$(grep -oE '^(torch|torchvision)==[0-9.]+' requirements/all.lock)

# The environment, as the lock file says: some 6 GB, most of it torch for CUDA.
$(VENV)/.installed: requirements/all.lock | prerequisites
	@echo "setting up $(VENV) (once, about $(if $(TORCH_INDEX),2,6) GB)"
	@$(call NEW,$(VENV),$(PYTHON))
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV)
	@$(if $(TORCH_INDEX),$(CPU_TORCH),\
		$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/all.lock)
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --build-constraints requirements/build.lock -e .
	@touch $@

# What the demo takes where there is no GPU.
$(VENV)/.small: requirements/demo.lock | prerequisites
	@echo "setting up $(VENV) for the demo, without torch (once, about 0.6 GB)"
	@$(call NEW,$(VENV),$(PYTHON))
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV)
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r $<
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --build-constraints requirements/build.lock -e .
	@touch $@

# DALI, 1 GB, in an environment of its own: nothing else needs it.
.cache/dali/.installed: exporter/decoding/requirements.lock | $(VENV)/.installed
	@echo "setting up .cache/dali (once, about 1 GB)"
	@mkdir -p .cache
	@$(call LAYER,.cache/dali)
	@$(BIN)/uv pip install -q --python .cache/dali/bin/python --require-hashes -r $<
	@touch $@

lock: ## resolve the lock files again after a change of pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --all-extras -o requirements/all.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links -c requirements/all.lock \
		--extra client --extra stack --extra onnx -o requirements/demo.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links --group pyproject.toml:build \
		-o requirements/build.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links -o ansible/requirements.lock ansible/requirements.in
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links -c requirements/all.lock \
		-o exporter/decoding/requirements.lock exporter/decoding/requirements.in
	$(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links -o requirements/rivals.lock requirements/rivals.in
	$(MAKE) lock-compose

versions: ## write the versions of versions.toml wherever they stand
	$(BIN)/python scripts/versions.py

outdated: ## say which versions and Python packages are behind
	@$(BIN)/python scripts/versions.py --outdated

digests: ## pin the images by digest (needs Docker or skopeo, and their registries)
	$(BIN)/python scripts/versions.py --digests

# Tools of others, each in an environment that is thrown away.
TOOL = $(BIN)/uv tool run --quiet --from
LOCKS := $(wildcard requirements/*.lock) ansible/requirements.lock $(wildcard exporter/decoding/*.lock)

# OSV_URL=URL: another database, with the query of OSV's API, in place of PyPI's own.
audit: ## compare the lock files with the known vulnerabilities of Python packages (asks their database)
	@failed=; for lock in $(LOCKS); do echo "$$lock"; \
		$(TOOL) pip-audit==$(PIP_AUDIT) pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
			$(if $(OSV_URL),--vulnerability-service osv --osv-url $(OSV_URL)) -r $$lock || failed="$$failed $$lock"; \
	done; test -z "$$failed" || { echo "not well:$$failed. Raise what is named above as vulnerable (make lock)." \
		"If a package was not found, or no answer came, nothing is known of that file: ask again, or another" \
		"database with OSV_URL=." >&2; exit 1; }

# Of what is built here, and of what is added to Triton's image.
IMAGE_LOCKS := requirements/bridge.lock requirements/client.lock requirements/export.lock \
	exporter/decoding/requirements-triton.lock

sbom: ## write what each image and the wheel are made of to results/sbom/ (CycloneDX)
	@mkdir -p results/sbom
	@$(LOCK_IMAGE) --constraint requirements/all.lock --output-file results/sbom/requirements-wheel.lock
	@for lock in $(IMAGE_LOCKS) results/sbom/requirements-wheel.lock; do \
		name=$$(basename $$lock .lock); name=$${name#requirements-}; \
		said=$$($(TOOL) cyclonedx-bom==$(CYCLONEDX) cyclonedx-py requirements --pyproject pyproject.toml \
			--output-reproducible --output-file results/sbom/$$name.cdx.json $$lock 2>&1) \
			|| { echo "$$lock: $$said" >&2; exit 1; }; \
		echo results/sbom/$$name.cdx.json; \
	done

clean: ## remove what was built, fetched and measured here
	rm -rf $(VENV) .venv-ansible .cache .stack .pytest_cache .mypy_cache .ruff_cache .hypothesis results
