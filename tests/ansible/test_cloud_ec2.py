"""cloud.yaml against an EC2 that answers over HTTP: moto's server, asked again with boto3."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.ansible.lab.playbook import Outcome, run_playbook

REGION = "us-east-2"
NODES = [
    {"name": "gpu-1", "group": "gpu", "flavor": "g4dn.xlarge"},
    {"name": "kafka-1", "group": "kafka", "flavor": "m5.large"},
]
KEY_ID, SECRET = "lab-key-id", "lab-secret-key"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBVRhKZ1XH0oQmkVnN0Pw1GZs0zFqzXh1dVDUuJrnlRp lab"


pytestmark = pytest.mark.timeout(7200)


@dataclass
class Region:
    """EC2 of one region, and the playbook run against it."""

    url: str
    directory: Path
    subnet: str = "subnet-1"
    vpc: str = "vpc-1"
    image: str = "ami-1"

    @property
    def ec2(self) -> Any:
        return boto3.client(
            "ec2",
            REGION,
            endpoint_url=self.url,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )

    @property
    def inventory(self) -> Path:
        return self.directory / "lab.inventory.yaml"

    def instances(self, *states: str) -> list[dict[str, Any]]:
        """What bears our tag, in the given states; in any where none is given."""
        filters = [{"Name": "tag:pipeline", "Values": ["lab"]}]
        if states:
            filters.append({"Name": "instance-state-name", "Values": list(states)})
        pages = self.ec2.describe_instances(Filters=filters)["Reservations"]
        return [instance for page in pages for instance in page["Instances"]]

    def names(self, *states: str) -> list[str]:
        return sorted(
            tag["Value"]
            for instance in self.instances(*states)
            for tag in instance["Tags"]
            if tag["Key"] == "Name"
        )

    def keys_and_groups(self) -> list[str]:
        keys = [key["KeyName"] for key in self.ec2.describe_key_pairs()["KeyPairs"]]
        groups = self.ec2.describe_security_groups()["SecurityGroups"]
        return keys + [g["GroupName"] for g in groups if g["GroupName"] != "default"]

    def play(
        self, *arguments: str, environment: dict[str, str] | None = None, **variables: Any
    ) -> Outcome:
        hosts = self.directory / "hosts"
        hosts.write_text("")
        key = self.directory / "key.pub"
        key.write_text(PUBLIC_KEY)
        return run_playbook(
            "cloud.yaml",
            hosts,
            *arguments,
            variables={
                "cloud_provider": "ec2",
                "cloud_name": "lab",
                "cloud_user": "ubuntu",
                "cloud_nodes": NODES,
                "cloud_inventory": str(self.inventory),
                "cloud_ssh_timeout": 0,
                "cloud_ec2_region": REGION,
                "cloud_ec2_image": self.image,
                "cloud_ec2_subnet": self.subnet,
                "cloud_ec2_vpc": self.vpc,
                "cloud_ec2_public_key_file": str(key),
                "cloud_ec2_ssh_sources": ["203.0.113.0/24"],
            }
            | variables,
            environment={
                "AWS_ENDPOINT_URL": self.url,
                "AWS_ACCESS_KEY_ID": KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET,
            }
            | (environment or {}),
        )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def moto(log: Path, **environment: str) -> Iterator[str]:
    """The address of moto, a process of its own, because its imports warn of what is not ours."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-p", str(port)],
            env=os.environ | environment,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.2)
            else:
                yield f"http://127.0.0.1:{port}"
                return
        pytest.fail(f"moto did not start: {log.read_text()}")
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    with moto(tmp_path / "moto.log", MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="1") as url:
        made = Region(url, tmp_path)
        ec2 = made.ec2
        made.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=made.vpc, CidrBlock="10.0.0.0/24")["Subnet"]
        made.subnet = subnet["SubnetId"]
        made.image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        yield made


def test_machines_are_made_once_handed_over_and_removed(region: Region) -> None:
    first = region.play().succeeded()
    assert region.names("running") == ["lab-gpu-1", "lab-kafka-1"]
    types = {i["InstanceType"] for i in region.instances("running")}
    assert types == {"g4dn.xlarge", "m5.large"}
    inventory = json.loads(
        subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-inventory")),
                "--list",
                "--inventory",
                str(region.inventory),
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    assert inventory["gpu"]["hosts"] == ["lab-gpu-1"]
    assert inventory["kafka"]["hosts"] == ["lab-kafka-1"]
    variables = inventory["_meta"]["hostvars"]
    addresses = {i["PrivateIpAddress"]: i["PublicIpAddress"] for i in region.instances("running")}
    kafka = variables["lab-kafka-1"]
    assert addresses[kafka["kafka_address"]] == kafka["ansible_host"]
    assert "Instance lab-gpu-1 (g4dn.xlarge" in first.words
    assert "cloud_state=absent" in first.words
    (group,) = (
        g
        for g in region.ec2.describe_security_groups()["SecurityGroups"]
        if g["GroupName"] == "lab"
    )
    assert sorted(str(rule.get("FromPort")) for rule in group["IpPermissions"]) == ["22", "None"]
    let_in = [ip["CidrIp"] for rule in group["IpPermissions"] for ip in rule["IpRanges"]]
    assert let_in == ["203.0.113.0/24"]
    disks = region.ec2.describe_volumes()["Volumes"]
    assert [disk["Encrypted"] for disk in disks] == [True, True]
    options = [i["MetadataOptions"]["HttpTokens"] for i in region.instances("running")]
    assert options == ["required", "required"]

    region.play().changed_nothing()
    assert len(region.instances()) == 2, "none was made twice"

    region.play(cloud_state="absent").succeeded()
    assert region.instances("pending", "running", "stopping", "stopped") == []
    assert region.keys_and_groups() == []
    assert not region.inventory.exists()
    region.play(cloud_state="absent").changed_nothing()


def test_a_run_that_failed_half_way_is_resumed_or_torn_down(region: Region) -> None:
    wrong = [NODES[0], NODES[1] | {"flavor": "m5.gigantic"}]
    outcome = region.play(cloud_nodes=wrong).failed()
    assert f"kafka-1 in {REGION}:" in outcome.words
    assert "InvalidInstanceType" in outcome.words
    assert "run again to go on" in outcome.words
    assert region.names("running") == ["lab-gpu-1"]

    region.play().succeeded()
    assert region.names() == ["lab-gpu-1", "lab-kafka-1"]

    region.play(cloud_nodes=wrong, cloud_state="absent").succeeded()
    assert region.instances("pending", "running", "stopping", "stopped") == []
    assert region.keys_and_groups() == []


def test_check_mode_makes_nothing(region: Region) -> None:
    region.play("--check").succeeded()
    assert region.instances() == []
    assert region.keys_and_groups() == []


def test_wrong_credentials_are_named_and_the_secret_is_not_shown(tmp_path: Path) -> None:
    with moto(tmp_path / "moto.log", INITIAL_NO_AUTH_ACTION_COUNT="0") as url:
        outcome = Region(url, tmp_path).play("-vvv").failed()
    assert "AWS did not let us in" in outcome.words
    assert "InvalidClientTokenId" in outcome.words
    assert "AWS_ACCESS_KEY_ID" in outcome.words
    assert SECRET not in outcome.output


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cloud_ec2_subnet": ""}, "Set cloud_ec2_image"),
        ({"cloud_nodes": [{"name": "gpu-1", "group": "gpu"}]}, "each node's flavor"),
        ({"cloud_ec2_public_key_file": "/nowhere.pub"}, "/nowhere.pub does not exist"),
        ({"cloud_ec2_disk_gib": "plenty"}, "cloud_ec2_disk_gib"),
        ({"cloud_ec2_disk_gib": 20}, "gpu-1: cloud_ec2_disk_gib is 20"),
        ({"cloud_ec2_ssh_sources": []}, "Set cloud_ec2_ssh_sources"),
    ],
)
def test_wrong_variables_are_refused_before_anything_is_made(
    region: Region, wrong: dict[str, Any], message: str
) -> None:
    assert message in region.play(**wrong).failed().words
    assert region.keys_and_groups() == []
