"""A machine made of small programs in one folder: docker, nvidia-smi, as the scripts call them."""

import json
import os
from pathlib import Path
from typing import Any

# The words that tell one call of docker from another, and what it answers.
Answers = dict[str, tuple[int, str]]


class Machine:
    """Programs in ``folder``; nothing else is on the path but the system's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.calls.touch()

    def program(self, name: str, answers: Answers) -> None:
        """A program that answers by the first key that its arguments begin with."""
        cases = []
        for number, (words, (status, text)) in enumerate(answers.items()):
            (self.folder / f"{name}.{number}").write_text(text)
            cases.append(f"'{words}'*) cat '{self.folder}/{name}.{number}'; exit {status} ;;")
        lines = ["#!/bin/sh", f'echo "{name} $*" >>{self.calls}', 'case "$*" in', *cases]
        lines += ["esac", 'echo "not expected: $0 $*" >&2', "exit 99"]
        (self.folder / name).write_text("\n".join(lines) + "\n")
        (self.folder / name).chmod(0o755)

    @property
    def path(self) -> str:
        return f"{self.folder}:{os.environ['PATH']}"


def compose_config(
    *,
    gpu: bool = True,
    ports: dict[str, list[str]] | None = None,
    export_lock: str | None = "requirements/export.lock",
) -> str:
    """What ``docker compose config`` says of services, their images and ports."""
    services: dict[str, dict[str, Any]] = {
        "triton": {"image": "nvcr.io/nvidia/tritonserver:26.11-py3"},
        "bridge": {"image": "triton-kafka-bridge:latest"},
        "export": {"image": "triton-kafka-export:latest"},
    }
    services["bridge"]["depends_on"] = {"triton": {"condition": "service_healthy"}}
    if export_lock is not None:
        services["triton"]["depends_on"] = {"export": {}}
        services["export"]["build"] = {"args": {"EXPORT_LOCK": export_lock}}
    if gpu:
        devices = [{"driver": "nvidia", "count": -1, "capabilities": ["gpu"]}]
        services["triton"]["deploy"] = {"resources": {"reservations": {"devices": devices}}}
    for name, published in (ports or {}).items():
        services[name]["ports"] = [
            {"host_ip": "127.0.0.1", "target": 1, "published": port} for port in published
        ]
    return json.dumps({"services": services})
