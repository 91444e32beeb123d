"""A worker of Kafka Connect from Maven Central, with the JDBC sink and the converter it needs."""

import fcntl
import hashlib
import http.client
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.kafka.broker import LOG4J
from stack.kafka.jars import java, maven
from stack.paths import CACHE
from stack.ports import HOST, free_ports
from stack.service import Command, Service

POM = Path(__file__).with_name("pom.xml")
EXAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "connect"
SINK = "io.debezium:debezium-connector-jdbc:3.5.0.Final:tar.gz:plugin"
"""The sink as its makers publish it, with the JDBC drivers."""
FETCH_S = 900


def installed() -> Path:
    """The folder that has Connect's own jars in `worker`, and those of each plugin in `plugins`;
    fetched where they are not."""
    version = hashlib.sha256(POM.read_bytes() + SINK.encode()).hexdigest()[:16]
    target = CACHE / "connect" / version
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _fetch(part := target.with_suffix(".part"))
            part.rename(target)
    return target


def _fetch(folder: Path) -> None:
    plugins = folder / "plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    jars = ["-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    for goal in (
        [*jars, "-Pworker", f"-DoutputDirectory={folder / 'worker'}"],
        [*jars, "-Pconverter", f"-DoutputDirectory={plugins / 'converter'}"],
        ["-f", str(POM), "dependency:get", f"-Dartifact={SINK}", "-Dtransitive=false"],
        ["-f", str(POM), "dependency:copy", f"-Dartifact={SINK}", f"-DoutputDirectory={folder}"],
    ):
        subprocess.run([maven(), "-q", "-B", *goal], check=True, timeout=FETCH_S)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(plugins, filter="data")


class Connect(Service):
    """A standalone worker on 127.0.0.1 with one connector of deploy/connect.

    Args:
        example: the connector's file there.
        worker: settings of the worker that differ from those of the file there.
        connector: settings of the connector that do.
        environment: variables that the files name.
    """

    def __init__(
        self,
        directory: Path,
        example: str,
        worker: Mapping[str, str],
        connector: Mapping[str, str],
        environment: Mapping[str, str],
    ) -> None:
        super().__init__("connect", directory)
        self._environment = environment
        self._port = free_ports(1)[0]
        self._worker = {
            **properties("worker.properties"),
            "listeners": f"http://{HOST}:{self._port}",
            "plugin.path": str(installed() / "plugins"),
            "offset.storage.file.filename": str(self.directory / "offsets"),
            **worker,
        }
        self._connector = {**properties(example), **connector}

    def state(self) -> list[dict[str, Any]]:
        """The connector and its tasks, as the worker describes them; empty: not known yet."""
        connection = http.client.HTTPConnection(HOST, self._port, timeout=30)
        try:
            connection.request("GET", f"/connectors/{self._connector['name']}/status")
            answer = connection.getresponse()
            if answer.status != 200:
                return []
            body = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return []
        finally:
            connection.close()
        return [body["connector"], *body["tasks"]]

    def failure(self) -> str:
        """Why the connector or a task of it has failed; empty: none has."""
        return "\n".join(one.get("trace", "") for one in self.state() if one["state"] == "FAILED")

    def _prepare(self) -> Command:
        files = []
        for name, settings in (("worker", self._worker), ("connector", self._connector)):
            path = self.directory / f"{name}.properties"
            path.write_text("".join(f"{key}={text}\n" for key, text in settings.items()))
            files.append(str(path))
        main = "org.apache.kafka.connect.cli.ConnectStandalone"
        return Command(
            [java(), "-Xmx512m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={LOG4J}",
             "-cp", f"{installed()}/worker/*", main, *files],
            {**os.environ, **self._environment},
        )  # fmt: skip

    def _is_ready(self) -> bool:
        """Whether the connector has a task that runs or has failed."""
        return len(self.state()) > 1


def properties(name: str) -> dict[str, str]:
    """The settings of a file of deploy/connect."""
    lines = (EXAMPLES / name).read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key: text for key, _, text in pairs}
