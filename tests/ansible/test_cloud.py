"""cloud.yaml against an OpenStack that answers over HTTP."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.lab.playbook import Outcome, run_playbook
from tests.ansible.openstack.cloud import SECRET, Cloud
from tests.ansible.openstack.server import running_cloud

NODES = [
    {"name": "gpu-1", "group": "gpu", "flavor": "m1.large"},
    {"name": "kafka-1", "group": "kafka", "flavor": "m1.large"},
]


pytestmark = pytest.mark.timeout(7200)


@dataclass
class Site:
    cloud: Cloud
    directory: Path
    secret: str = SECRET

    @property
    def inventory(self) -> Path:
        return self.directory / "lab.inventory.yaml"

    def hosts(self) -> dict[str, Any]:
        """The inventory that was written, as Ansible reads it."""
        program = Path(sys.executable).with_name("ansible-inventory")
        listed = subprocess.run(
            [str(program), "--list", "--inventory", str(self.inventory)],
            check=True,
            capture_output=True,
            text=True,
        )
        found: dict[str, Any] = json.loads(listed.stdout)
        return found

    def play(self, *arguments: str, **variables: Any) -> Outcome:
        clouds = self.directory / "clouds.yaml"
        clouds.write_text(
            json.dumps(
                {
                    "clouds": {
                        "site": {
                            "auth_type": "v3applicationcredential",
                            "region_name": "lab",
                            "interface": "public",
                            "auth": {
                                "auth_url": f"{self.cloud.url}/identity/v3",
                                "application_credential_id": "id",
                                "application_credential_secret": self.secret,
                            },
                        }
                    }
                }
            )
        )
        hosts = self.directory / "hosts"
        hosts.write_text("")
        key = self.directory / "key.pub"
        key.write_text("ssh-ed25519 AAAA lab")
        return run_playbook(
            "cloud.yaml",
            hosts,
            *arguments,
            variables={
                "cloud_provider": "openstack",
                "cloud_name": "lab",
                "cloud_nodes": NODES,
                "cloud_openstack_cloud": "site",
                "cloud_openstack_public_key_file": str(key),
                "cloud_openstack_ssh_sources": ["203.0.113.0/24"],
                "cloud_inventory": str(self.inventory),
                "cloud_ssh_timeout": 0,
                "cloud_openstack_lease_delay": 0,
                "cloud_openstack_server_timeout": 60,
                "serving_export": False,
            }
            | variables,
            environment={"OS_CLIENT_CONFIG_FILE": str(clouds)},
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_cloud() as cloud:
        yield Site(cloud, tmp_path)


@pytest.fixture
def ssh() -> Iterator[int]:
    """A port on which the first two floating addresses of a cloud answer."""
    with socket.create_server(("127.0.2.10", 0)) as first:
        port: int = first.getsockname()[1]
        with socket.create_server(("127.0.2.11", port)):
            yield port


def test_machines_are_made_once_handed_over_and_removed(site: Site, ssh: int) -> None:
    answering = {"cloud_ssh_port": ssh, "cloud_ssh_timeout": 60}
    first = site.play(**answering).succeeded()
    assert site.cloud.names("servers") == ["lab-gpu-1", "lab-kafka-1"]
    inventory = site.hosts()
    assert inventory["gpu"]["hosts"] == ["lab-gpu-1"]
    assert inventory["kafka"]["hosts"] == ["lab-kafka-1"]
    variables = inventory["_meta"]["hostvars"]
    assert variables["lab-gpu-1"]["ansible_host"].startswith("127.0.2.")
    assert variables["lab-gpu-1"]["ansible_port"] == ssh
    assert variables["lab-kafka-1"]["kafka_address"].startswith("10.0.0.")
    assert "Server lab-gpu-1" in first.words
    assert f"Floating address {variables['lab-gpu-1']['ansible_host']}" in first.words
    assert "cloud_state=absent" in first.words

    site.play(**answering).changed_nothing()
    assert site.cloud.made("servers") == 2
    assert site.cloud.made("floatingips") == 2

    site.play(cloud_state="absent").succeeded()
    left = {kind: found for kind, found in site.cloud.resources.items() if found}
    assert left == {}
    assert not site.inventory.exists()
    site.play(cloud_state="absent").changed_nothing()


def test_bare_metal_is_leased_first_and_the_reservation_is_the_scheduler_hint(site: Site) -> None:
    lease = {
        "cloud_openstack_lease_type": "physical:host",
        "cloud_nodes": [{"name": "gpu-1", "group": "gpu"}],
        "cloud_openstack_lease_resource_properties": ["==", "$node_type", "gpu_p100"],
    }
    outcome = site.play(**lease).succeeded()
    (made,) = site.cloud.resources["leases"].values()
    (server,) = site.cloud.resources["servers"].values()
    assert server["hints"] == {"reservation": made["reservations"][0]["id"]}
    assert server["flavor"]["id"] == "baremetal"
    assert json.loads(made["reservations"][0]["resource_properties"]) == [
        "==",
        "$node_type",
        "gpu_p100",
    ]
    assert "Lease lab until" in outcome.words

    site.play(**lease, cloud_openstack_lease_extend_hours=6).succeeded()
    assert made["prolonged"] == "6h"
    assert site.cloud.made("leases") == 1

    site.play(**lease, cloud_state="absent").succeeded()
    assert site.cloud.resources["leases"] == {}


def test_removal_finds_the_lease_that_it_was_not_told_of(site: Site) -> None:
    site.play(cloud_openstack_lease_type="physical:host").succeeded()
    site.play(cloud_state="absent").succeeded()
    assert {kind: found for kind, found in site.cloud.resources.items() if found} == {}


def test_a_lease_that_failed_is_named_and_the_next_run_asks_for_a_new_one(site: Site) -> None:
    lease = {"cloud_openstack_lease_type": "physical:host"}
    site.cloud.lease_status = "ERROR"
    outcome = site.play(**lease).failed()
    assert "Lease lab is ERROR: the nodes could not be reserved" in outcome.words
    assert site.cloud.resources["servers"] == {}
    site.cloud.lease_status = "ACTIVE"
    site.play(**lease).succeeded()
    assert site.cloud.made("leases") == 2
    assert site.cloud.made("servers") == 2


def test_a_machine_that_does_not_answer_is_named(site: Site) -> None:
    site.play().succeeded()
    machine = site.hosts()["_meta"]["hostvars"]["lab-gpu-1"]
    with socket.create_server((machine["ansible_host"], 0)) as other:
        closed = other.getsockname()[1]
    outcome = site.play(cloud_ssh_port=closed, cloud_ssh_timeout=1).failed()
    assert f"lab-gpu-1 ({machine['ansible_host']}) did not answer on port {closed}" in outcome.words


def test_at_kvm_sites_the_reservation_is_the_flavour(site: Site) -> None:
    site.play(
        cloud_openstack_lease_type="flavor:instance",
        cloud_openstack_lease_flavor_id="g1.h100.pci.1",
        cloud_nodes=[{"name": "gpu-1", "group": "gpu"}],
    ).succeeded()
    (lease,) = site.cloud.resources["leases"].values()
    (server,) = site.cloud.resources["servers"].values()
    assert server["flavor"]["id"] == f"reservation:{lease['reservations'][0]['id']}"
    assert server["hints"] == {}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"cloud_nodes": [{"name": "gpu-1", "group": "gpu", "flavor": "m1.small"}]},
            "gpu-1: flavour m1.small has a disk of 20 GB, a machine of group gpu needs 38",
        ),
        ({"cloud_openstack_lease_flavor_id": "g1.tiny"}, "flavour g1.tiny has a disk of 10 GB"),
        (
            {"serving_export": True},
            "g1.h100.pci.1 has a disk of 40 GB, a machine of group gpu needs 50. Export the model "
            "here first (tkb export), and the node needs 12 GiB less",
        ),
    ],
)
def test_a_disk_that_is_too_small_is_refused_before_a_lease_is_paid_for(
    site: Site, variables: dict[str, Any], message: str
) -> None:
    leased = {
        "cloud_openstack_lease_type": "flavor:instance",
        "cloud_openstack_lease_flavor_id": "g1.h100.pci.1",
        "cloud_nodes": [
            {"name": "gpu-1", "group": "gpu"},
            {"name": "kafka-1", "group": "kafka", "flavor": "m1.large", "leased": False},
        ],
    }
    if "cloud_nodes" in variables:
        leased["cloud_openstack_lease_type"] = ""
    assert message in site.play(**(leased | variables)).failed().words
    assert {kind: found for kind, found in site.cloud.resources.items() if found} == {}


def test_the_pages_example_of_a_kvm_site_is_let_through(site: Site) -> None:
    site.play(
        cloud_openstack_lease_type="flavor:instance",
        cloud_openstack_lease_flavor_id="g1.h100.pci.1",
        cloud_nodes=[
            {"name": "gpu-1", "group": "gpu", "leased": True},
            {"name": "kafka-1", "group": "kafka", "flavor": "m1.large", "leased": False},
            {"name": "load-1", "group": "load", "flavor": "m1.large", "leased": False},
        ],
    ).succeeded()
    assert len(site.cloud.resources["servers"]) == 3


def test_a_quota_stops_half_way_and_the_run_is_resumed(site: Site) -> None:
    site.cloud.server_quota = 1
    outcome = site.play().failed()
    assert "kafka-1 on site:" in outcome.words
    assert "Quota exceeded" in outcome.words
    assert "run again to go on" in outcome.words
    site.cloud.server_quota = 10
    site.play().succeeded()
    assert site.cloud.names("servers") == ["lab-gpu-1", "lab-kafka-1"]


def test_ssh_is_let_in_from_nowhere_until_it_is_said_from_where(site: Site) -> None:
    outcome = site.play(cloud_openstack_ssh_sources=[]).failed()
    assert "Set cloud_openstack_ssh_sources" in outcome.words
    assert {kind: found for kind, found in site.cloud.resources.items() if found} == {}


def test_a_half_made_pipeline_is_torn_down(site: Site) -> None:
    site.cloud.server_quota = 1
    site.play().failed()
    site.play(cloud_state="absent").succeeded()
    assert {kind: found for kind, found in site.cloud.resources.items() if found} == {}


def test_a_refused_lease_makes_nothing_and_says_why(site: Site) -> None:
    site.cloud.lease_refusal = "Not enough hosts available"
    outcome = site.play(cloud_openstack_lease_type="physical:host").failed()
    assert "Lease lab was refused by site: Not enough hosts available" in outcome.words
    assert {kind: found for kind, found in site.cloud.resources.items() if found} == {}


def test_wrong_credentials_are_named_and_no_secret_is_shown(site: Site) -> None:
    site.secret = "wrong-secret"
    outcome = site.play("-vvv").failed()
    assert 'Cloud "site" did not let us in' in outcome.words
    assert "wrong-secret" not in outcome.output
    assert site.cloud.made("servers") == 0


def test_a_cloud_without_leases_says_so(site: Site) -> None:
    site.cloud.has_blazar = False
    outcome = site.play(cloud_openstack_lease_type="physical:host").failed()
    assert "no reservation service (Blazar)" in outcome.words


def test_check_mode_makes_nothing(site: Site) -> None:
    site.play("--check").succeeded()
    assert {kind: found for kind, found in site.cloud.resources.items() if found} == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"cloud_provider": "abacus"},
        {"cloud_name": "No Spaces"},
        {"cloud_nodes": []},
        {"cloud_nodes": [{"name": "x", "group": "toaster"}]},
    ],
)
def test_wrong_variables_are_refused_before_anything_is_asked_of_the_cloud(
    site: Site, wrong: dict[str, Any]
) -> None:
    assert "Set cloud_provider" in site.play(**wrong).failed().words
    assert site.cloud.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"cloud_openstack_lease_type": "virtual:host"},
        {"cloud_openstack_lease_hours": "a day"},
        {"cloud_openstack_public_key_file": "/nowhere.pub"},
    ],
    ids=["choice", "number", "file"],
)
def test_wrong_variables_of_the_provider_make_nothing(site: Site, wrong: dict[str, Any]) -> None:
    (value,) = wrong.values()
    assert value in site.play(**wrong).failed().words
    assert {kind: found for kind, found in site.cloud.resources.items() if found} == {}
