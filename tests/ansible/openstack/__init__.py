"""A small OpenStack over HTTP, for the playbook that asks a cloud for machines."""
