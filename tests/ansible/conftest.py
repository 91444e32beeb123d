"""Tests of provisioning. They run in Ansible's own environment: see ansible/ansible.mk."""

from __future__ import annotations

import importlib.util

# In the pipeline's environment there is no Ansible, and nothing here to collect.
collect_ignore_glob = [] if importlib.util.find_spec("ansiblelint") else ["*"]
