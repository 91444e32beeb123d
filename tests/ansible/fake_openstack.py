"""A small OpenStack over HTTP: what cloud.yaml asks of Keystone, Nova, Neutron, Glance, Blazar.

Real clients (openstacksdk, Ansible's uri) talk to it. Everything made is kept in ``resources``,
every request in ``requests``, and knobs make it refuse what a real cloud refuses.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

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


def _answer(
    cloud: Cloud, method: str, path: str, query: dict[str, list[str]], body: Json
) -> tuple[int, Json]:
    """Status and body for one request; raises ApiError and KeyError (404)."""
    r = cloud.resources
    match method, path.strip("/").split("/"):
        case "POST", ["identity", "v3", "auth", "tokens"]:
            return 201, cloud.token(body)
        case "GET", ["identity", "v3", "auth", "catalog"]:
            return 200, {"catalog": cloud.catalog()}
        case "GET", ["identity"] | ["identity", "v3"]:
            version = {
                "id": "v3.14",
                "status": "stable",
                "links": [{"rel": "self", "href": f"{cloud.url}/identity/v3"}],
            }
            return 200, {"version": version} if path.endswith("v3") else {
                "versions": {"values": [version]}
            }
        case "GET", ["compute"] | ["compute", "v2.1"]:
            version = {
                "id": "v2.1",
                "status": "CURRENT",
                "version": "2.90",
                "min_version": "2.1",
                "links": [{"rel": "self", "href": f"{cloud.url}/compute/v2.1"}],
            }
            return 200, {"version": version} if path.endswith("v2.1") else {"versions": [version]}
        case "GET", ["network"]:
            return 200, {
                "versions": [
                    {
                        "id": "v2.0",
                        "status": "CURRENT",
                        "links": [{"rel": "self", "href": f"{cloud.url}/network/v2.0"}],
                    }
                ]
            }
        case "GET", ["image"]:
            return 200, {
                "versions": [
                    {
                        "id": "v2.9",
                        "status": "CURRENT",
                        "links": [{"rel": "self", "href": f"{cloud.url}/image/v2"}],
                    }
                ]
            }
        # Glance
        case "GET", ["image", "v2", "images"]:
            images = [
                {
                    "id": "image-1",
                    "name": "CC-Ubuntu24.04-CUDA",
                    "status": "active",
                    "visibility": "public",
                }
            ]
            return 200, {
                "images": [i for i in images if query.get("name", [i["name"]]) == [i["name"]]]
            }
        # Nova
        case "GET", ["compute", "v2.1", "flavors", *rest] if rest in ([], ["detail"]):
            reservations = [
                f"reservation:{x['reservations'][0]['id']}" for x in r["leases"].values()
            ]
            flavors = [see_flavor(f) for f in (*DISKS, *reservations)]
            return 200, {"flavors": flavors}
        case "GET", ["compute", "v2.1", "flavors", flavor, *rest] if (
            flavor in DISKS or flavor.startswith("reservation:")
        ):
            return 200, {"extra_specs": {}} if rest else {"flavor": see_flavor(flavor)}
        case "GET", ["compute", "v2.1", "servers", *rest] if rest in ([], ["detail"]):
            servers = [cloud.see_server(s) for s in r["servers"].values()]
            wanted = query.get("name", [""])[0]
            return 200, {"servers": [s for s in servers if re.search(wanted, s["name"])]}
        case "POST", ["compute", "v2.1", "servers"]:
            return 202, cloud.create_server(body)
        case "GET", ["compute", "v2.1", "servers", server_id]:
            return 200, {"server": cloud.see_server(r["servers"][server_id])}
        case "GET", ["compute", "v2.1", "servers", server_id, "os-security-groups"]:
            names = [g["name"] for g in r["servers"][server_id]["security_groups"]]
            return 200, {
                "security_groups": [
                    g
                    for g in r["security-groups"].values()
                    if g["name"] in names or g["id"] in names
                ]
            }
        case "GET", ["compute", "v2.1", "servers", _, "os-volume_attachments"]:
            return 200, {"volumeAttachments": []}
        case "DELETE", ["compute", "v2.1", "servers", server_id]:
            cloud.delete_server(server_id)
            return 204, {}
        case "GET", ["compute", "v2.1", "os-keypairs", name]:
            return 200, {"keypair": r["os-keypairs"][name]}
        case "GET", ["compute", "v2.1", "os-keypairs"]:
            return 200, {"keypairs": [{"keypair": k} for k in r["os-keypairs"].values()]}
        case "POST", ["compute", "v2.1", "os-keypairs"]:
            key = body["keypair"]
            r["os-keypairs"][key["name"]] = key | {
                "id": key["name"],
                "fingerprint": "",
                "user_id": "u1",
            }
            return 201, {"keypair": r["os-keypairs"][key["name"]]}
        case "DELETE", ["compute", "v2.1", "os-keypairs", name]:
            del r["os-keypairs"][name]
            return 202, {}
        # Neutron
        case "GET", ["network", "v2.0", "networks", *rest]:
            networks = [
                {
                    "id": PRIVATE_NETWORK,
                    "name": "sharednet1",
                    "router:external": False,
                    "subnets": ["subnet"],
                },
                {"id": PUBLIC_NETWORK, "name": "public", "router:external": True, "subnets": []},
            ]
            if rest:
                found = [n for n in networks if n["id"] == rest[0]]
                if not found:
                    raise KeyError(rest[0])
                return 200, {"network": found[0]}
            return 200, {
                "networks": [n for n in networks if query.get("name", [n["name"]]) == [n["name"]]]
            }
        case "GET", ["network", "v2.0", "extensions"]:
            return 200, {"extensions": []}
        case "GET", ["network", "v2.0", "subnets"]:
            return 200, {
                "subnets": [
                    {
                        "id": "subnet",
                        "name": "private",
                        "network_id": PRIVATE_NETWORK,
                        "gateway_ip": "10.0.0.1",
                        "cidr": "10.0.0.0/24",
                        "ip_version": 4,
                    }
                ]
            }
        case "GET", ["network", "v2.0", "ports"]:
            owner = query.get("device_id", [""])[0]
            return 200, {"ports": [p for p in r["ports"].values() if owner in ("", p["device_id"])]}
        case "GET", ["network", "v2.0", "floatingips"]:
            filters = ("port_id", "floating_network_id", "floating_ip_address")
            return 200, {
                "floatingips": [
                    i
                    for i in r["floatingips"].values()
                    if all(query.get(f, [i[f]]) == [i[f]] for f in filters)
                ]
            }
        case "POST", ["network", "v2.0", "floatingips"]:
            return 201, cloud.create_floating_ip(body)
        case "GET", ["network", "v2.0", "floatingips", ip_id]:
            return 200, {"floatingip": r["floatingips"][ip_id]}
        case "PUT", ["network", "v2.0", "floatingips", ip_id]:
            cloud.attach(r["floatingips"][ip_id], body["floatingip"])
            return 200, {"floatingip": r["floatingips"][ip_id]}
        case "DELETE", ["network", "v2.0", "floatingips", ip_id]:
            del r["floatingips"][ip_id]
            return 204, {}
        case "GET", ["network", "v2.0", "security-groups"]:
            groups = [cloud.group_with_rules(g) for g in r["security-groups"].values()]
            return 200, {
                "security_groups": [
                    g for g in groups if query.get("name", [g["name"]]) == [g["name"]]
                ]
            }
        case "POST", ["network", "v2.0", "security-groups"]:
            group = body["security_group"] | {
                "id": str(uuid.uuid4()),
                "tenant_id": "p1",
                "stateful": True,
            }
            r["security-groups"][group["id"]] = group
            return 201, {"security_group": cloud.group_with_rules(group)}
        case "GET", ["network", "v2.0", "security-groups", group_id]:
            return 200, {"security_group": cloud.group_with_rules(r["security-groups"][group_id])}
        case "DELETE", ["network", "v2.0", "security-groups", group_id]:
            del r["security-groups"][group_id]
            r["security-group-rules"] = {
                k: v
                for k, v in r["security-group-rules"].items()
                if v["security_group_id"] != group_id
            }
            return 204, {}
        case "GET", ["network", "v2.0", "security-group-rules", rule_id]:
            return 200, {"security_group_rule": r["security-group-rules"][rule_id]}
        case "POST", ["network", "v2.0", "security-group-rules"]:
            empty = dict.fromkeys(
                (
                    "port_range_min",
                    "port_range_max",
                    "protocol",
                    "remote_ip_prefix",
                    "remote_group_id",
                    "description",
                )
            )
            rule = (
                empty
                | {"ethertype": "IPv4"}
                | body["security_group_rule"]
                | {"id": str(uuid.uuid4())}
            )
            r["security-group-rules"][rule["id"]] = rule
            return 201, {"security_group_rule": rule}
        # Blazar
        case "GET", ["reservation", "v1", "leases"]:
            return 200, {"leases": list(r["leases"].values())}
        case "POST", ["reservation", "v1", "leases"]:
            return 201, cloud.create_lease(body)
        case "GET", ["reservation", "v1", "leases", lease_id]:
            return 200, {"lease": cloud.see_lease(r["leases"][lease_id])}
        case "PUT", ["reservation", "v1", "leases", lease_id]:
            r["leases"][lease_id]["prolonged"] = body["prolong_for"]
            return 200, {"lease": r["leases"][lease_id]}
        case "DELETE", ["reservation", "v1", "leases", lease_id]:
            del r["leases"][lease_id]
            return 204, {}
    raise KeyError(path)


def see_flavor(name: str) -> Json:
    disk = DISKS.get(name, 40)  # a reservation's is that of the flavour reserved
    return {"id": name, "name": name, "ram": 1, "vcpus": 1, "disk": disk, "links": []}


def _check_token(path: str, token: str) -> None:
    if "auth/tokens" not in path and token != TOKEN:
        raise ApiError(401, "bad token")


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = json.loads(
                self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}"
            )
            with cloud.lock:
                cloud.requests.append((self.command, parts.path))
                if self.command != "GET":
                    cloud.bodies.append((parts.path, body))
                try:
                    _check_token(parts.path, self.headers.get("X-Auth-Token", TOKEN))
                    status, answer = _answer(
                        cloud, self.command, parts.path, parse_qs(parts.query), body
                    )
                except ApiError as error:
                    status = error.status
                    key = "forbidden" if status == 403 else "error"
                    answer = {
                        key: {"code": status, "message": str(error)},
                        "error_message": str(error),
                    }
                except KeyError as error:
                    status, answer = 404, {"itemNotFound": {"code": 404, "message": f"no {error}"}}
                text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Subject-Token", TOKEN)
            self.send_header("Content-Length", "0" if status == 204 else str(len(text)))
            self.end_headers()
            if status != 204:
                self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - names http.server asks for

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are kept in the cloud, not printed."""

    return Handler


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    """A cloud on a free port of the loopback address."""
    cloud = Cloud()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cloud))
    server.daemon_threads = True
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
