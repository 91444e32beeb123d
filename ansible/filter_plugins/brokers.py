"""The filter that names the Kafka brokers of an inventory. Pure: variables in, an address out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

# Where brokers listen for other machines (roles/kafka).
CLIENT_PORT = 9092


def broker_addresses(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> str:
    """``host:9092,…`` of the brokers, each by ``kafka_address``, ``ansible_host`` or its name."""
    return ",".join(
        f"{hostvars[host].get('kafka_address') or hostvars[host].get('ansible_host') or host}"
        f":{CLIENT_PORT}"
        for host in hosts
    )


class FilterModule:
    """Registers the filter with Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"broker_addresses": broker_addresses}
