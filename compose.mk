# Containers and what watches them. Included by the top Makefile.

.PHONY: check-compose test-compose lock-compose lock-cpu compose-check check-gpu-node

compose-check: ## say what this machine lacks for docker compose up, before anything is pulled
	@$(PYTHON) scripts/compose_check.py

check-gpu-node: ## try a running docker compose up on its GPU, and write what was seen to gpu-node.json
	@$(PYTHON) -m scripts.check_gpu_node

check-compose: ## check the Compose files, the Dockerfile, alerts and dashboard
	$(CURDIR)/.venv/bin/python -m pytest -q tests/compose

test-compose: ## run docker-compose.yaml on an engine of its own (root)
	$(CURDIR)/.venv/bin/python -m pytest -v --tb=short tests/compose/e2e.py

# The packages of each image; the same versions as in requirements/all.lock.
LOCK_IMAGE = $(CURDIR)/.venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-header --no-emit-index-url --no-emit-find-links --quiet

LOCK_DECODING = $(CURDIR)/.venv/bin/uv pip compile exporter/decoding/requirements-triton.in --universal \
	--python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --quiet \
	--constraint requirements/all.lock --no-emit-package numpy \
	--output-file exporter/decoding/requirements-triton.lock

# Without the compiler of torch.compile for GPUs, 0.9 GB that no export uses.
LOCK_EXPORT = $(LOCK_IMAGE) --constraint requirements/all.lock --extra model --no-emit-package triton \
	--output-file requirements/export.lock

lock-compose: ## write the images' lock files anew
	$(LOCK_IMAGE) --constraint requirements/all.lock --extra references --extra schemas --extra tracing \
		--output-file requirements/bridge.lock
	$(LOCK_IMAGE) --constraint requirements/all.lock --extra client --extra references --extra schemas --extra tracing \
		--output-file requirements/client.lock
	$(LOCK_EXPORT)
	$(LOCK_DECODING)

# A torch for the CPU alone takes 200 MB instead of 3 GB. It is in no index that everyone has: name one.
lock-cpu: ## write requirements/export-cpu.lock, with the torch of TORCH_INDEX=(an index of CPU builds)
	@test -n "$(TORCH_INDEX)" || { echo "Name an index that has torch for the CPU: make lock-cpu TORCH_INDEX=https://..." >&2; exit 2; }
	$(subst --universal,--python-platform x86_64-manylinux_2_28,$(LOCK_IMAGE)) \
		--constraint requirements/all.lock --extra model --index "$(TORCH_INDEX)" \
		--index-strategy unsafe-best-match --output-file requirements/export-cpu.lock
	@grep -q '^torch==.*+cpu' requirements/export-cpu.lock || { rm requirements/export-cpu.lock; \
		echo "$(TORCH_INDEX) has no CPU build of this project's torch (its version ends in +cpu)." >&2; exit 1; }
	@echo "Now in .env: EXPORT_LOCK=requirements/export-cpu.lock and TORCH_INDEX=$(TORCH_INDEX)"
