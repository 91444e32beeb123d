"""A small OpenStack over HTTP: what cloud.yaml asks of Keystone, Nova, Neutron, Glance, Blazar.

Real clients (openstacksdk, Ansible's uri) talk to it. Everything made is kept in ``resources``,
every request in ``requests``, and knobs make it refuse what a real cloud refuses.
"""

from __future__ import annotations

import itertools
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]
SECRET = "application-secret"
TOKEN = "gAAAA-a-token"
PRIVATE_NETWORK, PUBLIC_NETWORK = "net-private", "net-public"
# Flavours and their disks, GB: a bare-metal node's is not its flavour's.
DISKS = {"baremetal": 0, "m1.small": 20, "m1.large": 40, "g1.tiny": 10, "g1.h100.pci.1": 40}


class ApiError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Cloud:
    """State and knobs. ``resources[kind][id]`` holds what was made."""

    url: str = ""
    resources: dict[str, dict[str, Json]] = field(default_factory=lambda: defaultdict(dict))
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[tuple[str, Json]] = field(default_factory=list)
    server_quota: int = 10
    lease_refusal: str = ""
    looks_until_ready: int = 1
    lease_status: str = "ACTIVE"
    has_blazar: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)
    hosts: Iterator[int] = field(default_factory=lambda: itertools.count(10))

    def names(self, kind: str) -> list[str]:
        return sorted(r["name"] for r in self.resources[kind].values())

    def made(self, kind: str) -> int:
        """How many resources of a kind were ever asked for."""
        return sum(
            1 for method, path in self.requests if method == "POST" and path.endswith(f"/{kind}")
        )

    # --- Keystone

    def token(self, body: Json) -> Json:
        identity = body["auth"]["identity"]
        if identity.get("application_credential", {}).get("secret") != SECRET:
            raise ApiError(401, "The request you have made requires authentication.")
        expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
        return {
            "token": {
                "methods": ["application_credential"],
                "expires_at": expires,
                "issued_at": expires,
                "user": {
                    "id": "u1",
                    "name": "user",
                    "domain": {"id": "default", "name": "Default"},
                },
                "project": {
                    "id": "p1",
                    "name": "project",
                    "domain": {"id": "default", "name": "Default"},
                },
                "roles": [{"id": "r1", "name": "member"}],
                "catalog": self.catalog(),
            }
        }

    def catalog(self) -> list[Json]:
        services = {
            "identity": "/identity/v3",
            "compute": "/compute/v2.1",
            "network": "/network",
            "image": "/image",
        } | ({"reservation": "/reservation/v1"} if self.has_blazar else {})
        return [
            {
                "type": kind,
                "name": kind,
                "id": kind,
                "endpoints": [
                    {
                        "id": kind,
                        "interface": "public",
                        "region": "lab",
                        "region_id": "lab",
                        "url": self.url + path,
                    },
                ],
            }
            for kind, path in services.items()
        ]

    # --- Nova

    def create_server(self, body: Json) -> Json:
        wanted = body["server"]
        if len(self.resources["servers"]) >= self.server_quota:
            raise ApiError(
                403,
                f"Quota exceeded for instances: Requested 1, but already used "
                f"{len(self.resources['servers'])} of {self.server_quota} instances",
            )
        server_id, number = str(uuid.uuid4()), len(self.requests) % 200 + 10
        address = f"10.0.0.{number}"
        self.resources["ports"][f"port-{server_id}"] = {
            "id": f"port-{server_id}",
            "name": "",
            "device_id": server_id,
            "network_id": PRIVATE_NETWORK,
            "fixed_ips": [{"ip_address": address, "subnet_id": "subnet"}],
            "status": "ACTIVE",
            "mac_address": "",
        }
        self.resources["servers"][server_id] = {
            "id": server_id,
            "name": wanted["name"],
            "status": "BUILD",
            "looks": 0,
            "metadata": wanted.get("metadata", {}),
            "key_name": wanted.get("key_name"),
            "flavor": {"id": wanted["flavorRef"], "original_name": wanted["flavorRef"]},
            "image": {"id": wanted.get("imageRef")},
            "security_groups": wanted.get("security_groups", []),
            "hints": body.get("os:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") or {},
            "addresses": {
                "private": [
                    {
                        "addr": address,
                        "version": 4,
                        "OS-EXT-IPS:type": "fixed",
                        "OS-EXT-IPS-MAC:mac_addr": "",
                    }
                ]
            },
            "os-extended-volumes:volumes_attached": [],
            "OS-EXT-STS:task_state": None,
            "OS-EXT-STS:vm_state": "active",
            "OS-EXT-STS:power_state": 1,
            "created": "2026-01-01T00:00:00Z",
            "updated": "2026-01-01T00:00:00Z",
            "tenant_id": "p1",
            "user_id": "u1",
            "hostId": "",
            "links": [],
        }
        return {"server": {"id": server_id, "links": [], "adminPass": ""}}

    def see_server(self, server: Json) -> Json:
        server["looks"] += 1
        if server["looks"] > self.looks_until_ready:
            server["status"] = "ACTIVE"
        return server

    def delete_server(self, server_id: str) -> None:
        self.resources["servers"].pop(server_id)
        self.resources["ports"].pop(f"port-{server_id}")
        for ip in self.resources["floatingips"].values():
            if ip["port_id"] == f"port-{server_id}":
                ip.update(port_id=None, fixed_ip_address=None, status="DOWN")

    # --- Neutron

    def create_floating_ip(self, body: Json) -> Json:
        wanted = body["floatingip"]
        ip_id = str(uuid.uuid4())
        ip = {
            "id": ip_id,
            "name": "",
            # Of this machine, so that a test can have something answer there.
            "floating_ip_address": f"127.0.2.{next(self.hosts)}",
            "floating_network_id": wanted["floating_network_id"],
            "port_id": None,
            "fixed_ip_address": None,
            "status": "DOWN",
            "router_id": None,
            "port_details": None,
            "tenant_id": "p1",
            "project_id": "p1",
            "tags": [],
        }
        self.resources["floatingips"][ip_id] = ip
        self.attach(ip, wanted)
        return {"floatingip": ip}

    def attach(self, ip: Json, wanted: Json) -> None:
        port = self.resources["ports"].get(wanted.get("port_id") or "")
        if port is None:
            return
        ip.update(
            port_id=port["id"], fixed_ip_address=port["fixed_ips"][0]["ip_address"], status="ACTIVE"
        )
        self.resources["servers"][port["device_id"]]["addresses"]["private"].append(
            {
                "addr": ip["floating_ip_address"],
                "version": 4,
                "OS-EXT-IPS:type": "floating",
                "OS-EXT-IPS-MAC:mac_addr": "",
            }
        )

    def group_with_rules(self, group: Json) -> Json:
        return group | {
            "security_group_rules": [
                r
                for r in self.resources["security-group-rules"].values()
                if r["security_group_id"] == group["id"]
            ]
        }

    # --- Blazar

    def create_lease(self, body: Json) -> Json:
        if self.lease_refusal:
            raise ApiError(400, self.lease_refusal)
        lease_id = str(uuid.uuid4())
        self.resources["leases"][lease_id] = {
            "id": lease_id,
            "name": body["name"],
            "status": "PENDING",
            "looks": 0,
            "end_date": body["end_date"],
            "reservations": [
                {"id": f"res-{lease_id[:8]}", "status": "pending"} | body["reservations"][0]
            ],
        }
        return {"lease": self.resources["leases"][lease_id]}

    def see_lease(self, lease: Json) -> Json:
        lease["looks"] += 1
        if lease["looks"] > self.looks_until_ready and lease["status"] == "PENDING":
            lease["status"] = self.lease_status
        return lease
