"""Tries a pipeline that runs under Docker Compose on its GPU, and writes down what was seen.

It needs nothing but Python and the checkout: python3 -m scripts.check_gpu_node. It takes two
minutes; gpu-node.json can be sent to whoever wants to know whether the project runs there.
"""

import argparse
import json
import re
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.compose_check import MissingError, check_compose, said

IMAGES = 1000
CORRECT = 915
"""Of the 1,000 that come with the project, by the shipped network itself (data/README.md)."""
TIMEOUT_S = 10.0
Seen = dict[str, Any]


def compose(*words: str) -> str:
    """What docker compose prints.

    Raises:
        MissingError: it is not there, is too old, or fails.
    """
    found = check_compose()
    if not found.ok:
        # Docker alone takes the words for its own, and says something else.
        raise MissingError(found.text)
    return said("docker", "compose", *words)


def driver() -> list[Seen]:
    """Each GPU, as the driver names it."""
    query = "--query-gpu=name,driver_version,compute_cap,memory.total"
    rows = said("nvidia-smi", query, "--format=csv,noheader").splitlines()
    names = ("name", "driver", "compute_capability", "memory")
    found = [
        dict(zip(names, map(str.strip, row.rsplit(",", 3)), strict=True)) for row in rows if row
    ]
    if not found:
        raise MissingError("nvidia-smi names no GPU")
    return found


def versions() -> Seen:
    first = said("nvidia-ctk", "--version").splitlines()[0]
    return {
        "docker": said("docker", "version", "--format={{.Server.Version}}"),
        "compose": compose("version", "--short"),
        "toolkit": first.rpartition(" ")[2],
        "kernel": said("uname", "-r"),
    }


def container() -> list[str]:
    """The GPUs that Triton's container sees."""
    seen = compose("exec", "-T", "triton", "nvidia-smi", "--list-gpus")
    if not seen:
        raise MissingError("no GPU is in Triton's container: docs/troubleshooting.md, Containers")
    return seen.splitlines()


def get(address: str, path: str) -> Any:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=TIMEOUT_S) as answer:
            body = answer.read()
    except OSError as error:
        raise MissingError(f"http://{address}{path}: {error}") from None
    return json.loads(body) if body else {}


def triton(model: str) -> Seen:
    """Triton's release, and where the model's instances are."""
    address = compose("port", "triton", "8000")
    get(address, "/v2/health/ready")
    config = get(address, f"/v2/models/{model}/config")
    kinds = sorted({str(group.get("kind")) for group in config.get("instance_group", [])})
    # The pytorch backend's instances say where they are. Those of the Python backend are on the CPU
    # for Triton, whatever they do: with DEVICE=auto the model takes the GPU that it sees.
    device = config.get("parameters", {}).get("DEVICE", {}).get("string_value")
    if kinds == ["KIND_CPU"] and device != "auto":
        raise MissingError(
            f"{model} runs on the CPU: set MODEL_DEVICE=cuda in .env, then start anew"
        )
    return {
        "server": get(address, "/v2")["version"],
        "image": compose("images", "--format=json", "triton"),
        "instances": kinds,
        "device": device,
        "backend": config.get("backend") or config.get("platform"),
    }


def images() -> Seen:
    """The project's 1,000 images through Kafka and back, as fast as they are taken."""
    words = ("cifar10", "--rate=0", f"--count={IMAGES}", "--listen", "--listen-timeout=120")
    report = compose("run", "--rm", "--no-deps", "-T", "producer", *words)
    rows = dict(re.findall(r"^(\S+) +([\d,]+)", report, re.MULTILINE))
    counts = {name: int(value.replace(",", "")) for name, value in rows.items() if name != "run"}
    rate = re.search(r"\(([\d,.]+) images/s\)", report)
    found = {name: counts.get(name) for name in ("sent", "answered", "missing", "correct")}
    seen: Seen = found | {"sent_per_s": float(rate[1].replace(",", "")) if rate else None}
    if found["answered"] != IMAGES or found["correct"] != CORRECT:
        raise MissingError(f"{CORRECT} of {IMAGES} answers should be right, this was seen: {seen}")
    return seen


def throughput(model: str) -> Seen:
    """What Triton itself counted: images a second while it computed, and images a batch."""
    address = compose("port", "triton", "8000")
    (stats,) = get(address, f"/v2/models/{model}/stats")["model_stats"][:1]
    computed = stats["inference_stats"]["compute_infer"]
    count, runs = stats["inference_count"], stats["execution_count"]
    busy_s = computed["ns"] / computed["count"] * runs / 1e9 if computed["count"] else 0.0
    return {
        "images": count,
        "images_per_batch": round(count / runs, 2) if runs else None,
        "images_per_s_of_computing": round(count / busy_s) if busy_s else None,
    }


def check(model: str) -> tuple[Seen, bool]:
    """Everything that was seen, and whether all of it is well. A failure does not hide the rest."""
    steps: dict[str, Callable[[], Any]] = {
        "gpus": driver,
        "versions": versions,
        "container": container,
        "triton": lambda: triton(model),
        "images": images,
        "throughput": lambda: throughput(model),
    }
    seen: Seen = {"model": model}
    well = True
    for name, step in steps.items():
        try:
            seen[name] = step()
        except (MissingError, KeyError, ValueError) as error:
            seen[name] = {"failed": str(error) or type(error).__name__}
            well = False
        print(f"{name:<12} {json.dumps(seen[name])}", flush=True)
    return seen, well


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet20_cifar10", help="the shipped model's name")
    parser.add_argument("--output", type=Path, default=Path("gpu-node.json"))
    options = parser.parse_args()
    seen, well = check(options.model)
    options.output.write_text(json.dumps(seen | {"well": well}, indent=2) + "\n")
    print(f"{'All is well' if well else 'Not all is well'}; written to {options.output}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
