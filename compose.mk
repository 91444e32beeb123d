# Containers and what watches them. Included by the top Makefile.

.PHONY: check-compose test-compose lock-compose

check-compose: ## check the Compose files, the Dockerfile, alerts and dashboard
	$(CURDIR)/.venv/bin/python -m pytest -q tests/compose

test-compose: ## run docker-compose.yaml on an engine of its own (root)
	$(CURDIR)/.venv/bin/python -m pytest -v --tb=short tests/compose/e2e.py

# The packages of each image; the same versions as in requirements/all.lock.
LOCK_IMAGE = $(CURDIR)/.venv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-header --no-emit-index-url --no-emit-find-links --quiet

lock-compose: ## write requirements/{bridge,client,export}.lock anew
	$(LOCK_IMAGE) --constraint requirements/all.lock --extra tracing \
		--output-file requirements/bridge.lock
	$(LOCK_IMAGE) --constraint requirements/all.lock --extra client --extra tracing \
		--output-file requirements/client.lock
	$(LOCK_IMAGE) --constraint requirements/all.lock --extra model --output-file requirements/export.lock
