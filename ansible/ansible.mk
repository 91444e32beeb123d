# Provisioning: its own environment, its own checks. Included by the top Makefile.

ANSIBLE_VENV := .venv-ansible
ANSIBLE_PYTHON ?= python3.11
ANSIBLE_BIN := $(CURDIR)/$(ANSIBLE_VENV)/bin
# Collections come with the ansible package; nothing is fetched from Galaxy.
ANSIBLE_ENV := PATH="$(ANSIBLE_BIN):$$PATH" ANSIBLE_CONFIG="$(CURDIR)/ansible/ansible.cfg"
ANSIBLE_PLAYBOOKS := $(wildcard ansible/*.yaml)

.PHONY: ansible-venv ansible-lab lint-ansible test-ansible-short test-ansible-life test-ansible

ansible-venv: $(ANSIBLE_VENV)/.installed

$(ANSIBLE_VENV)/.installed: ansible/requirements.lock
	$(call NEW,$(ANSIBLE_VENV),$(ANSIBLE_PYTHON))
	$(ANSIBLE_BIN)/python -m pip install --quiet uv==$(UV)
	$(ANSIBLE_BIN)/uv pip install --quiet --python $(ANSIBLE_BIN)/python --require-hashes --link-mode=copy -r ansible/requirements.lock
	touch $@

lint-ansible: $(ANSIBLE_VENV)/.installed
	cd ansible && $(ANSIBLE_ENV) $(ANSIBLE_BIN)/yamllint --strict .
	cd ansible && $(ANSIBLE_ENV) $(ANSIBLE_BIN)/ansible-lint --strict --offline
	$(ANSIBLE_ENV) $(ANSIBLE_BIN)/ansible-playbook --syntax-check --inventory ansible/inventory/example.yaml $(ANSIBLE_PLAYBOOKS)

ANSIBLE_PYTEST := $(ANSIBLE_ENV) $(ANSIBLE_BIN)/python -m pytest --confcutdir tests/ansible

# Needs nothing but the environment; under three minutes.
test-ansible-short: lint-ansible
	$(ANSIBLE_PYTEST) tests/ansible/test_filters.py tests/ansible/test_roles.py \
	  tests/ansible/test_driver_pins.py \
	  tests/ansible/test_kafka_access.py::test_a_broker_that_others_reach_is_secured_unless_it_is_told_otherwise \
	  tests/ansible/test_cloud.py::test_at_kvm_sites_the_reservation_is_the_flavour

# Needs root, debootstrap, systemd-container and gnupg. The first run builds its machines' parts into
# $$ANSIBLE_LAB_CACHE (default ~/.cache/triton-kafka-ansible-lab), from the archives that this machine's apt
# sources name; DEBIAN_MIRROR and UBUNTU_MIRROR name others, or the one that a distribution lacks here.
# The parts share nothing but those: make -j6 test-ansible runs them side by side.
ANSIBLE_TESTS := converge/test_lifecycle.py converge/test_refusals.py converge/test_several.py \
  converge/test_systems.py test_cloud.py test_cloud_ec2.py test_kafka_access.py

test-ansible: $(addprefix test-ansible/,$(ANSIBLE_TESTS))

test-ansible/%: ansible-lab
	$(ANSIBLE_PYTEST) tests/ansible/$*

# The longest of them, on one system: what CI runs.
test-ansible-life: $(ANSIBLE_VENV)/.installed
	$(ANSIBLE_PYTEST) tests/ansible/converge/test_lifecycle.py

ansible-lab: $(ANSIBLE_VENV)/.installed
	$(ANSIBLE_BIN)/python -c "from tests.ansible.lab.build import SYSTEMS, build; print(*map(build, SYSTEMS), sep='\n')"
