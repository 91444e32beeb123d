# Provisioning: its own environment, its own checks. Included by the top Makefile.

ANSIBLE_VENV := .venv-ansible
ANSIBLE_PYTHON ?= python3.11
ANSIBLE_BIN := $(CURDIR)/$(ANSIBLE_VENV)/bin
# Collections come with the ansible package; nothing is fetched from Galaxy.
ANSIBLE_ENV := PATH="$(ANSIBLE_BIN):$$PATH" ANSIBLE_CONFIG="$(CURDIR)/ansible/ansible.cfg"
ANSIBLE_PLAYBOOKS := $(wildcard ansible/*.yaml)

.PHONY: ansible-venv lint-ansible test-ansible-short test-ansible

ansible-venv: $(ANSIBLE_VENV)/.installed

$(ANSIBLE_VENV)/.installed: ansible/requirements.lock
	test -x $(ANSIBLE_BIN)/python || $(ANSIBLE_PYTHON) -m venv $(ANSIBLE_VENV)
	$(ANSIBLE_BIN)/python -m pip install --quiet uv==0.13.9
	$(ANSIBLE_BIN)/uv pip install --quiet --python $(ANSIBLE_BIN)/python --require-hashes --link-mode=copy -r ansible/requirements.lock
	touch $@
