"""What each service answers: Keystone, Nova, Neutron, Glance and Blazar."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from tests.ansible.openstack.cloud import DISKS, PRIVATE_NETWORK, PUBLIC_NETWORK, Cloud, Json

Query = dict[str, list[str]]
Answer = tuple[int, Json]
"""Status and body."""


def answer(cloud: Cloud, method: str, path: str, query: Query, body: Json) -> Answer:
    """What the cloud says to one request.

    Raises:
        ApiError: it is refused.
        KeyError: there is no such thing (404).
    """
    service, *parts = path.strip("/").split("/")
    return SERVICES[service](cloud, method, parts, query, body)


def _keystone(cloud: Cloud, method: str, parts: list[str], _query: Query, body: Json) -> Answer:
    match method, parts:
        case "POST", ["v3", "auth", "tokens"]:
            return 201, cloud.token(body)
        case "GET", ["v3", "auth", "catalog"]:
            return 200, {"catalog": cloud.catalog()}
        case "GET", [] | ["v3"]:
            version = {
                "id": "v3.14",
                "status": "stable",
                "links": [{"rel": "self", "href": f"{cloud.url}/identity/v3"}],
            }
            return 200, {"version": version} if parts else {"versions": {"values": [version]}}
    raise KeyError("/".join(parts))


def _nova(cloud: Cloud, method: str, parts: list[str], query: Query, body: Json) -> Answer:
    r = cloud.resources
    match method, parts:
        case "GET", [] | ["v2.1"]:
            version = {
                "id": "v2.1",
                "status": "CURRENT",
                "version": "2.90",
                "min_version": "2.1",
                "links": [{"rel": "self", "href": f"{cloud.url}/compute/v2.1"}],
            }
            return 200, {"version": version} if parts else {"versions": [version]}
        case "GET", ["v2.1", "flavors", *rest] if rest in ([], ["detail"]):
            reservations = [
                f"reservation:{x['reservations'][0]['id']}" for x in r["leases"].values()
            ]
            flavors = [see_flavor(f) for f in (*DISKS, *reservations)]
            return 200, {"flavors": flavors}
        case "GET", ["v2.1", "flavors", flavor, *rest] if flavor in DISKS or flavor.startswith(
            "reservation:"
        ):
            return 200, {"extra_specs": {}} if rest else {"flavor": see_flavor(flavor)}
        case "GET", ["v2.1", "servers", *rest] if rest in ([], ["detail"]):
            servers = [cloud.see_server(s) for s in r["servers"].values()]
            wanted = query.get("name", [""])[0]
            return 200, {"servers": [s for s in servers if re.search(wanted, s["name"])]}
        case "POST", ["v2.1", "servers"]:
            return 202, cloud.create_server(body)
        case "GET", ["v2.1", "servers", server_id]:
            return 200, {"server": cloud.see_server(r["servers"][server_id])}
        case "GET", ["v2.1", "servers", server_id, "os-security-groups"]:
            names = [g["name"] for g in r["servers"][server_id]["security_groups"]]
            return 200, {
                "security_groups": [
                    g
                    for g in r["security-groups"].values()
                    if g["name"] in names or g["id"] in names
                ]
            }
        case "GET", ["v2.1", "servers", _, "os-volume_attachments"]:
            return 200, {"volumeAttachments": []}
        case "DELETE", ["v2.1", "servers", server_id]:
            cloud.delete_server(server_id)
            return 204, {}
        case "GET", ["v2.1", "os-keypairs", name]:
            return 200, {"keypair": r["os-keypairs"][name]}
        case "GET", ["v2.1", "os-keypairs"]:
            return 200, {"keypairs": [{"keypair": k} for k in r["os-keypairs"].values()]}
        case "POST", ["v2.1", "os-keypairs"]:
            key = body["keypair"]
            r["os-keypairs"][key["name"]] = key | {
                "id": key["name"],
                "fingerprint": "",
                "user_id": "u1",
            }
            return 201, {"keypair": r["os-keypairs"][key["name"]]}
        case "DELETE", ["v2.1", "os-keypairs", name]:
            del r["os-keypairs"][name]
            return 202, {}
    raise KeyError("/".join(parts))


def _neutron(cloud: Cloud, method: str, parts: list[str], query: Query, body: Json) -> Answer:
    r = cloud.resources
    match method, parts:
        case "GET", []:
            return 200, {
                "versions": [
                    {
                        "id": "v2.0",
                        "status": "CURRENT",
                        "links": [{"rel": "self", "href": f"{cloud.url}/network/v2.0"}],
                    }
                ]
            }
        case "GET", ["v2.0", "networks", *rest]:
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
        case "GET", ["v2.0", "extensions"]:
            return 200, {"extensions": []}
        case "GET", ["v2.0", "subnets"]:
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
        case "GET", ["v2.0", "ports"]:
            owner = query.get("device_id", [""])[0]
            return 200, {"ports": [p for p in r["ports"].values() if owner in ("", p["device_id"])]}
        case "GET", ["v2.0", "floatingips"]:
            filters = ("port_id", "floating_network_id", "floating_ip_address")
            return 200, {
                "floatingips": [
                    i
                    for i in r["floatingips"].values()
                    if all(query.get(f, [i[f]]) == [i[f]] for f in filters)
                ]
            }
        case "POST", ["v2.0", "floatingips"]:
            return 201, cloud.create_floating_ip(body)
        case "GET", ["v2.0", "floatingips", ip_id]:
            return 200, {"floatingip": r["floatingips"][ip_id]}
        case "PUT", ["v2.0", "floatingips", ip_id]:
            cloud.attach(r["floatingips"][ip_id], body["floatingip"])
            return 200, {"floatingip": r["floatingips"][ip_id]}
        case "DELETE", ["v2.0", "floatingips", ip_id]:
            del r["floatingips"][ip_id]
            return 204, {}
        case "GET", ["v2.0", "security-groups"]:
            groups = [cloud.group_with_rules(g) for g in r["security-groups"].values()]
            return 200, {
                "security_groups": [
                    g for g in groups if query.get("name", [g["name"]]) == [g["name"]]
                ]
            }
        case "POST", ["v2.0", "security-groups"]:
            group = body["security_group"] | {
                "id": str(uuid.uuid4()),
                "tenant_id": "p1",
                "stateful": True,
            }
            r["security-groups"][group["id"]] = group
            return 201, {"security_group": cloud.group_with_rules(group)}
        case "GET", ["v2.0", "security-groups", group_id]:
            return 200, {"security_group": cloud.group_with_rules(r["security-groups"][group_id])}
        case "DELETE", ["v2.0", "security-groups", group_id]:
            del r["security-groups"][group_id]
            r["security-group-rules"] = {
                k: v
                for k, v in r["security-group-rules"].items()
                if v["security_group_id"] != group_id
            }
            return 204, {}
        case "GET", ["v2.0", "security-group-rules", rule_id]:
            return 200, {"security_group_rule": r["security-group-rules"][rule_id]}
        case "POST", ["v2.0", "security-group-rules"]:
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
    raise KeyError("/".join(parts))


def _glance(cloud: Cloud, method: str, parts: list[str], query: Query, _body: Json) -> Answer:
    match method, parts:
        case "GET", []:
            return 200, {
                "versions": [
                    {
                        "id": "v2.9",
                        "status": "CURRENT",
                        "links": [{"rel": "self", "href": f"{cloud.url}/image/v2"}],
                    }
                ]
            }
        case "GET", ["v2", "images"]:
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
    raise KeyError("/".join(parts))


def _blazar(cloud: Cloud, method: str, parts: list[str], _query: Query, body: Json) -> Answer:
    r = cloud.resources
    match method, parts:
        case "GET", ["v1", "leases"]:
            return 200, {"leases": list(r["leases"].values())}
        case "POST", ["v1", "leases"]:
            return 201, cloud.create_lease(body)
        case "GET", ["v1", "leases", lease_id]:
            return 200, {"lease": cloud.see_lease(r["leases"][lease_id])}
        case "PUT", ["v1", "leases", lease_id]:
            r["leases"][lease_id]["prolonged"] = body["prolong_for"]
            return 200, {"lease": r["leases"][lease_id]}
        case "DELETE", ["v1", "leases", lease_id]:
            del r["leases"][lease_id]
            return 204, {}
    raise KeyError("/".join(parts))


def see_flavor(name: str) -> Json:
    disk = DISKS.get(name, 40)  # a reservation's is that of the flavour reserved
    return {"id": name, "name": name, "ram": 1, "vcpus": 1, "disk": disk, "links": []}


Service = Callable[[Cloud, str, list[str], Query, Json], Answer]
SERVICES: dict[str, Service] = {
    "identity": _keystone,
    "compute": _nova,
    "network": _neutron,
    "image": _glance,
    "reservation": _blazar,
}
