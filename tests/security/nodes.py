"""Brokers as ansible/roles/kafka describes them, without containers.

Certificates are the role's, settings are written by the image's own program, brokers are real.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stack.kafka import Kafka, jars
from stack.ports import HOST, free_ports

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = ROOT / ".venv-ansible/bin/ansible-playbook"
DEFAULTS = ROOT / "tests/compose/standins/kafka/defaults"
PORTS = ("9092", "9093", "9094", "29092", "19092")
ROLES = ROOT / "ansible/roles"
ANSIBLE = {
    "ANSIBLE_ROLES_PATH": str(ROLES),
    "ANSIBLE_FILTER_PLUGINS": str(ROOT / "ansible/filter_plugins"),
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_PIPELINING": "1",
}
TEMPLATE = ROLES / "kafka/templates/node-kafka.yaml.j2"

_PLAY = {
    "hosts": "kafka:load",
    "connection": "local",
    "gather_facts": False,
    "roles": ["kafka_access"],
    "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
    "vars_files": [str(ROLES / "load_generator/defaults/main.yml")],
    "tasks": [
        {
            "include_role": {"name": "kafka", "tasks_from": "secrets", "public": True},
            "when": "'kafka' in group_names",
        },
        {
            "copy": {
                "content": f"{{{{ lookup('template', '{TEMPLATE}') }}}}",
                "dest": "{{ here }}/node-kafka.yaml",
                "mode": "0600",
            },
            "when": "'kafka' in group_names",
        },
        {
            "copy": {
                "content": "{{ {'kafka': kafka_access_options | to_json,"
                " 'kafka_password': kafka_access_password,"
                " 'load': load_generator_kafka} | to_json }}",
                "dest": "{{ here }}/client.json",
                "mode": "0600",
            },
            "when": "'load' in group_names",
        },
    ],
}


@dataclass(frozen=True, slots=True)
class Client:
    """What a host of the load or gpu group is given."""

    kafka: Mapping[str, object]
    password: str
    load: str
    """PRODUCER_KAFKA and CONSUMER_KAFKA."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Hosts of an inventory, all of them this machine, with a folder each."""

    directory: Path
    brokers: Sequence[str]

    def play(self, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run the roles' tasks for all hosts."""
        here = f"{self.directory}/{{{{ inventory_hostname }}}}"
        given = {
            "here": here,
            "kafka_bind_address": "0.0.0.0",
            "kafka_secrets_path": f"{here}/secrets",
            "kafka_access_path": f"{here}/certificates",
            "kafka_user_id": os.getuid(),
            **variables,
        }
        address = {"kafka_address": HOST}
        groups = {"kafka": list(self.brokers), "gpu": [], "load": ["client"]}
        inventory = {
            group: {"hosts": dict.fromkeys(hosts, address)} for group, hosts in groups.items()
        }
        (self.directory / "hosts.json").write_text(json.dumps({"all": {"children": inventory}}))
        (self.directory / "play.yaml").write_text(json.dumps([_PLAY]))
        for hosts in groups.values():
            for host in hosts:
                (self.directory / host).mkdir(exist_ok=True)
        words = ("--inventory=hosts.json", f"--extra-vars={json.dumps(given)}", "play.yaml")
        return subprocess.run(
            [PLAYBOOK, *words],
            cwd=self.directory,
            env=os.environ | ANSIBLE,
            check=False,
            capture_output=True,
            text=True,
        )

    def override(self, host: str) -> dict[str, Any]:
        text = (self.directory / host / "node-kafka.yaml").read_text()
        services: dict[str, Any] = yaml.safe_load(text.replace("!override", ""))["services"]
        return services

    def client(self) -> Client:
        folder = self.directory / "client"
        text = (folder / "client.json").read_text()
        given = json.loads(text.replace("/certificates/", f"{folder}/certificates/"))
        return Client(json.loads(given["kafka"]), given["kafka_password"], given["load"])


class NodeBroker(Kafka):
    """A broker from the environment that Compose would give the container.

    Only ports and folders differ from it, since several of them are on one machine.
    """

    def __init__(self, nodes: Nodes, host: str, ports: Mapping[str, Mapping[str, str]]) -> None:
        self._host, self.ports = host, ports[host]
        super().__init__(
            nodes.directory / host / "broker",
            int(self.ports["19092"]),
            controller_port=int(self.ports["9093"]),
        )
        self.directory.mkdir()
        environment = _compose() | nodes.override(host)["kafka"]["environment"]
        folders = {
            "/var/lib/kafka/data": str(self.directory / "data"),
            "/etc/kafka/secrets": str(nodes.directory / host / "secrets"),
        }
        for name in environment:
            text = str(environment[name])
            for inside, outside in folders.items():
                text = text.replace(inside, outside)
            environment[name] = self._with_own_ports(text, ports)
        self.properties = _properties(self.directory, environment)

    def _with_own_ports(self, value: str, ports: Mapping[str, Mapping[str, str]]) -> str:
        if re.match(r"1@", value):  # the quorum's voters, in the order of the inventory
            return ",".join(
                f"{number}@{HOST}:{ports[host]['9093']}" for number, host in enumerate(ports, 1)
            )
        value = value.replace("://:", f"://{HOST}:").replace("//kafka:", f"//{HOST}:")
        return re.sub(r"(?<=:)\d+$|(?<=:)\d+(?=,)", lambda port: self._own(port[0]), value)

    def _own(self, port: str) -> str:
        return self.ports.get(port, port)

    @property
    def outside(self) -> str:
        """Where other hosts connect to."""
        return f"{HOST}:{self.ports['9092']}"


def _compose() -> dict[str, str]:
    """The broker's environment in docker-compose.yaml, with the defaults of its variables."""
    text = (ROOT / "docker-compose.yaml").read_text()
    text = re.sub(r"\$\{\w+:?-([^{}]*)\}", r"\1", text)
    text = re.sub(r"\$\{\w+:?-([^{}]*)\}", r"\1", text)
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    environment: dict[str, str] = services["kafka"]["environment"]
    return environment


def _properties(directory: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """server.properties as the image's program writes it, which formats the storage, too."""
    for folder in ("mounted", "config"):
        (directory / folder).mkdir()
    wrapper = ["kafka.docker.KafkaDockerWrapper", "setup", "--default-configs-dir", str(DEFAULTS)]
    folders = ("--mounted-configs-dir", directory / "mounted", "--final-configs-dir")
    done = subprocess.run(
        [jars.java(), "-cp", jars.class_path(), *wrapper, *folders, directory / "config"],
        env={"PATH": os.environ["PATH"]} | dict(environment),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (directory / "config/server.properties").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


@contextmanager
def running(nodes: Nodes) -> Iterator[list[NodeBroker]]:
    """The brokers of an inventory, with their users."""
    numbers = map(str, free_ports(len(PORTS) * len(nodes.brokers)))
    ports = {host: {port: next(numbers) for port in PORTS} for host in nodes.brokers}
    brokers = [NodeBroker(nodes, host, ports) for host in nodes.brokers]
    with ExitStack() as stack:
        for broker in brokers:
            # Without a quorum the last of them could not say goodbye to it.
            stack.callback(broker.kill)
            broker.launch()
        for broker in brokers:
            broker.wait_ready()
        make_users(nodes, brokers[0])
        yield brokers


def make_users(nodes: Nodes, broker: NodeBroker) -> None:
    """The script of the service ``users``, with the distribution's program beside it."""
    folder = nodes.directory / nodes.brokers[0]
    (script,) = nodes.override(nodes.brokers[0])["users"]["command"]
    tool = folder / "kafka-configs.sh"
    java = f"exec {jars.java()} -cp '{jars.class_path()}' kafka.admin.ConfigCommand"
    tool.write_text(f'#!/bin/sh\n{java} "$@"\n')
    tool.chmod(0o755)
    places = {
        "/opt/kafka/bin/kafka-configs.sh": str(tool),
        "/users/": f"{folder}/secrets/users/",
        "$$": "$",
    }
    for inside, outside in places.items():
        assert inside in script
        script = script.replace(inside, outside)
    shell = shutil.which("sh")
    assert shell is not None
    done = subprocess.run(
        [shell, "-ec", script],
        env=os.environ | {"BROKER": f"localhost:{broker.port}"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
