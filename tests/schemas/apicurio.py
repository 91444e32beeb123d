"""Apicurio Registry from Maven Central: a real registry that speaks Confluent's protocol."""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from stack.kafka.jars import java
from stack.paths import CACHE
from stack.ports import free_ports
from tests.waiting import eventually

VERSION = "3.0.9"
"""The newest that runs on Java 17; 109 MB."""
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
START_S = 240


def program() -> Path:
    """Where it is unpacked; fetched where it is not."""
    target = CACHE / "apicurio" / VERSION
    if not target.is_dir():
        maven = shutil.which("mvn")
        assert maven is not None, "Maven is missing"
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = ["dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={target.parent}"]
        get = ["dependency:get", f"-Dartifact={ARTIFACT}", "-Dtransitive=false"]
        for goal in (get, copy):
            subprocess.run([maven, "-q", "-B", *goal], check=True, timeout=900, cwd=target.parent)
        scratch = target.with_suffix(".part")
        with tarfile.open(next(target.parent.glob("*.tar.gz"))) as archive:
            archive.extractall(scratch, filter="data")
        scratch.rename(target)
    return next(target.glob("*-runner.jar"))


@contextmanager
def apicurio(log: Path) -> Iterator[str]:
    """Run it with its data in memory; gives the URL of Confluent's protocol."""
    port = free_ports(1)[0]
    options = ["-Xmx512m", "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}"]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [java(), *options, "-jar", str(program())], stdout=output, stderr=output
        )
    url = f"http://127.0.0.1:{port}/apis/ccompat/v7"

    def up() -> bool:
        assert child.poll() is None, log.read_text()[-2000:]
        try:
            return httpx2.get(f"{url}/subjects", timeout=5).status_code == 200
        except httpx2.HTTPError:
            return False

    try:
        eventually(up, "answer", START_S)
        # Apicurio checks nothing by itself; Confluent's registry has this rule by default.
        rule = {"compatibility": "BACKWARD"}
        httpx2.put(f"{url}/config", json=rule, timeout=30).raise_for_status()
        yield url
    finally:
        child.terminate()
        child.wait(30)
