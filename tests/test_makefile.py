"""What `make` does, as far as it can be told without doing it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stack.paths import ROOT


def recipe(*arguments: str, target: str = ".venv/.installed") -> str:
    done = subprocess.run(
        ["make", "-n", "-B", target, *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_torch_from_another_index_leaves_out_what_is_for_gpus_and_nothing_else() -> None:
    said = recipe("TORCH_INDEX=https://torch.example/cpu")
    assert "-r requirements/all.lock" not in said
    assert "--default-index https://torch.example/cpu" in said
    lock = (ROOT / "requirements/all.lock").read_text()
    (program,) = re.findall(r"awk '(.*?)'", said)
    kept = subprocess.run(
        ["awk", program], input=lock, capture_output=True, text=True, check=True
    ).stdout
    names = re.compile(r"^([a-z0-9][a-z0-9._-]*)==", re.MULTILINE)
    gone = set(names.findall(lock)) - set(names.findall(kept))
    assert {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-bindings"} <= gone
    for name in gone:
        assert re.match(r"torch|triton$|cuda-|nvidia-(?!pytriton)", name), name


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_without_it_all_is_as_the_lock_file_says() -> None:
    assert "--require-hashes -r requirements/all.lock" in recipe()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_demo_does_without_torch_where_there_is_no_gpu() -> None:
    fresh = "VENV=no-such-folder"
    whole, small = "-r requirements/all.lock", "-r requirements/demo.lock"
    for arguments, lock in (
        (["GPU="], small),
        (["GPU=/dev/nvidiactl"], whole),
        (["GPU=", "SMALL="], whole),
        (["GPU=/dev/nvidiactl", "SMALL=1"], small),
        (["GPU=", "TASK=detect"], whole),
    ):
        said = recipe(fresh, *arguments, target="demo")
        assert [one for one in (whole, small) if one in said] == [lock], arguments


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_environment_whose_making_was_interrupted_is_made_again(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (first,) = (
        line
        for line in recipe(f"VENV={venv}", target=f"{venv}/.small").splitlines()
        if "-m venv" in line
    )
    subprocess.run(["sh", "-ec", first], check=True)
    (venv / "kept").touch()
    subprocess.run(["sh", "-ec", first], check=True)  # now there is nothing to do
    assert (venv / "kept").exists()
    subprocess.run([venv / "bin/python", "-m", "pip", "-V"], check=True, capture_output=True)


def test_what_the_demo_takes_has_no_torch_and_else_the_same_versions() -> None:
    def packages(name: str) -> set[str]:
        lock = (ROOT / "requirements" / name).read_text()
        return set(re.findall(r"^[a-z0-9][a-z0-9._-]*==[^ ;]+", lock, re.MULTILINE))

    demo = packages("demo.lock")
    assert demo <= packages("all.lock")
    assert not any(re.match(r"torch|triton==|cuda-|nvidia-(?!pytriton)", name) for name in demo)


def read_by(target: str) -> set[str]:
    """The lock files that a target goes through."""
    said = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"for lock in (.*?);", said)
    assert found is not None, said
    return set(found[1].split())


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_what_an_image_is_made_of_is_told_for_every_image() -> None:
    text = (ROOT / "Dockerfile").read_text()
    locks = set(re.findall(r"^(?:COPY|ARG EXPORT_LOCK=) ?(\S+\.lock)", text, re.MULTILINE))
    images = locks - {"requirements/build.lock"}
    assert len(images) == 4
    assert read_by("sbom") == images | {"results/sbom/requirements-wheel.lock"}
    assert images < read_by("audit")


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """Stands in for a tool of others: it keeps its calls, and fails at the bridge's lock file."""
    script = tmp_path / "tool"
    script.write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n'
        'case "$*" in *bridge.lock*) echo "the tool says why" >&2; exit 1 ;; esac\n'
    )
    script.chmod(0o755)
    return script


def make(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *words], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_audit_goes_through_every_lock_file_and_names_those_that_are_not_well(
    tool: Path,
) -> None:
    done = make("audit", f"TOOL={tool}")
    assert done.returncode
    assert "the tool says why" in done.stderr
    assert "not well: requirements/bridge.lock. " in done.stderr
    calls = (tool.parent / "calls").read_text().splitlines()
    assert {call.split()[-1] for call in calls} == read_by("audit")
    assert make("audit", "TOOL=true").returncode == 0
    make("audit", f"TOOL={tool}", "OSV_URL=http://127.0.0.1:9/v1/query")
    last = (tool.parent / "calls").read_text().splitlines()[-1]
    assert "--vulnerability-service osv --osv-url http://127.0.0.1:9/v1/query" in last


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_a_bill_of_materials_that_cannot_be_written_says_why(tool: Path) -> None:
    done = make("sbom", f"TOOL={tool}", "LOCK_IMAGE=true")
    assert done.returncode
    assert "requirements/bridge.lock: the tool says why" in done.stderr
