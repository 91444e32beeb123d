"""The bridge of this checkout as a child process, for the demo, the tests and the benchmarks."""

import http.client
import json
import os
from collections.abc import Mapping
from pathlib import Path

from cli.child import command
from stack.errors import StackError
from stack.ports import HOST, free_ports
from stack.probe import is_ok, status
from stack.service import Command, Service


class Bridge(Service):
    """A bridge on 127.0.0.1; ready when it answers images.

    Args:
        settings: any of the bridge's settings by name, without `BRIDGE_`, as text.
        directory: folder for the log.
        name: distinguishes several bridges.
    """

    def __init__(self, settings: Mapping[str, str], directory: Path, name: str = "bridge") -> None:
        super().__init__(name, directory)
        self._settings = {"http_host": HOST, "log_format": "json", **settings}
        if "http_port" not in self._settings:
            self._settings["http_port"] = str(free_ports(1)[0])

    @property
    def http(self) -> str:
        """Address of health and metrics, `host:port`."""
        return f"{HOST}:{self._settings['http_port']}"

    def wait_exit(self, timeout_s: float) -> int:
        """Wait until the bridge ends by itself or by a signal; returns its exit status.

        Raises:
            StackError: it still runs after `timeout_s` seconds.
        """
        if self._child is None or not self._child.wait(timeout_s):
            raise StackError(f"{self.name} still runs after {timeout_s:.0f} s")
        return self._child.status

    def metrics(self) -> dict[str, float]:
        """The values of its metrics now, by name with labels as Prometheus writes them."""
        lines = self._get("/metrics").decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def health(self, what: str) -> int:
        """HTTP status of /health/`what`."""
        return status(self.http, f"/health/{what}")

    def reasons(self) -> dict[str, str]:
        """Why it is not ready, a reason for each part; empty when it is ready."""
        found: dict[str, str] = json.loads(self._get("/health/ready"))["reasons"]
        return found

    def _get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection(self.http, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def _prepare(self) -> Command:
        # Settings go through the environment, as in a container: secrets are not in the process
        # list.
        settings = {f"BRIDGE_{name.upper()}": text for name, text in self._settings.items()}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("BRIDGE_")}
        return Command(command("bridge"), {**inherited, **settings})

    def _is_ready(self) -> bool:
        return is_ok(self.http, "/health/ready")
