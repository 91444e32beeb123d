"""A control plane as child processes: the real API server, controllers and scheduler, on etcd.

Nodes and the kubelet are kwok's: pods that are bound to a node become ready, and end, without
running anything.
"""

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from stack.ports import HOST, free_ports
from stack.probe import is_ok
from stack.service import Command, Service
from tests.kubernetes import tools

Json = dict[str, Any]
START_TIMEOUT_S = 240


class Program(Service):
    """One of the programs.

    Args:
        ready: asks it whether it serves.
    """

    def __init__(
        self, path: Path, arguments: Mapping[str, object], directory: Path,
        ready: Callable[[], bool],
    ) -> None:  # fmt: skip
        super().__init__(path.name, directory)
        self._argv = [str(path), *(f"--{name}={value}" for name, value in arguments.items())]
        self._ready = ready

    def _prepare(self) -> Command:
        return Command(self._argv)

    def _is_ready(self) -> bool:
        return self._ready()


class ApiError(Exception):
    """The API server refuses a request; the text is its reason."""


class Client:
    """Asks the API server, as its administrator."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        # It signs its certificate itself, on loopback.
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        """One request and its answer.

        Raises:
            ApiError: any other status than success.
            OSError: it is not reached.
        """
        kind = "merge-patch+json" if method == "PATCH" else "json"
        headers = {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": f"application/{kind}",
        }
        connection = http.client.HTTPSConnection(HOST, self._port, timeout=30, context=self._tls)
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise ApiError(f"{method} {path}: {response.status} {text[:2000]}")
        answer: Json = json.loads(text) if text.startswith("{") else {"text": text}
        return answer

    def items(self, path: str) -> list[Json]:
        found: list[Json] = self.ask("GET", path)["items"]
        return found

    def ready(self) -> bool:
        """Whether it serves all kinds that it has been told of."""
        try:
            return bool(self.ask("GET", "/readyz") and self.everything())
        except (ApiError, OSError):
            return False

    def everything(self) -> set[str]:
        """Each object of each kind that can be listed, but those that come and go by themselves."""
        found = set()
        for path in self._collections():
            for item in self.items(path):
                meta = item["metadata"]
                found.add(f"{path} {meta.get('namespace', '')}/{meta['name']}")
        return found

    def _collections(self) -> Iterator[str]:
        groups = self.ask("GET", "/apis")["groups"]
        versions = (group["preferredVersion"]["groupVersion"] for group in groups)
        for root in ("/api/v1", *(f"/apis/{version}" for version in versions)):
            for one in self.ask("GET", root)["resources"]:
                passing = one["name"] in ("events", "leases", "componentstatuses")
                if "list" in one["verbs"] and not passing:
                    yield f"{root}/{one['name']}"


class ControlPlane:
    """Starts all of it with some nodes. A context manager.

    Attributes:
        client: its administrator.
        kubeconfig: for Helm.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self._running = ExitStack()
        peer, store, port = free_ports(3)
        token = "administrator"
        self.client = Client(port, token)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
        self._write_keys()
        self._write_kubeconfig(port, token)
        self._programs = self._describe(peer, store, port)

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            for program in self._programs:
                starting.callback(program.stop)
                program.launch()
                program.wait_ready(START_TIMEOUT_S)
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._running:
            for program in self._programs:
                program.require_alive()

    def add_node(self, name: str, capacity: Mapping[str, str]) -> None:
        """A node with room for much, and this beside it."""
        room = {"cpu": "32", "memory": "256Gi", "pods": "110", **capacity}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        }
        self.client.ask("POST", "/api/v1/nodes", node)
        status = {"status": {"capacity": room, "allocatable": room}}
        self.client.ask("PATCH", f"/api/v1/nodes/{name}/status", status)

    def _write_keys(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.directory / "accounts.key").write_bytes(private)
        (self.directory / "accounts.pub").write_bytes(public)

    def _write_kubeconfig(self, port: int, token: str) -> None:
        server = {"server": f"https://{HOST}:{port}", "insecure-skip-tls-verify": True}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def _describe(self, peer: int, store: int, port: int) -> list[Program]:
        def ours(name: str) -> Path:
            return tools.need(tools.built(tools.CLUSTER, name))

        def answers() -> bool:
            return True

        folder, kubeconfig = self.directory, self.kubeconfig
        clients, peers = f"http://{HOST}:{store}", f"http://{HOST}:{peer}"
        etcd = {
            "name": "test", "data-dir": folder / "etcd", "unsafe-no-fsync": "true",
            "listen-client-urls": clients, "advertise-client-urls": clients,
            "listen-peer-urls": peers, "initial-advertise-peer-urls": peers,
            "initial-cluster": f"test={peers}",
        }  # fmt: skip
        apiserver = {
            "etcd-servers": clients, "bind-address": HOST, "secure-port": port,
            "endpoint-reconciler-type": "none", "cert-dir": folder / "certificates",
            "authorization-mode": "RBAC", "token-auth-file": folder / "tokens.csv",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": folder / "accounts.pub",
            "service-account-signing-key-file": folder / "accounts.key",
            "service-cluster-ip-range": "10.0.0.0/24",
        }  # fmt: skip
        controllers = {
            "kubeconfig": kubeconfig, "leader-elect": "false", "secure-port": 0,
            "service-account-private-key-file": folder / "accounts.key",
            "node-monitor-grace-period": "1h",  # no node fails here, however busy the machine
        }  # fmt: skip
        scheduler = {"kubeconfig": kubeconfig, "leader-elect": "false", "secure-port": 0}
        kwok = {
            "kubeconfig": kubeconfig, "manage-all-nodes": "true", "node-ip": HOST,
            "config": tools.need(tools.stages()),
        }  # fmt: skip
        return [
            Program(ours("etcd"), etcd, folder, lambda: is_ok(f"{HOST}:{store}", "/health")),
            Program(ours("kube-apiserver"), apiserver, folder, self.client.ready),
            Program(ours("kube-controller-manager"), controllers, folder, answers),
            Program(ours("kube-scheduler"), scheduler, folder, answers),
            Program(tools.need(tools.installed(*tools.KWOK)), kwok, folder, answers),
        ]
