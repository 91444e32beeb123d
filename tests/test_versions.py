"""One file holds the versions of images and packages; they stand elsewhere as it says."""

import re
import shutil
from pathlib import Path

import pytest
import typer

from scripts import versions
from scripts.versions import (
    Pin,
    ask_go,
    ask_image,
    ask_pypi,
    behind,
    newer,
    read,
    write,
    write_digests,
)
from tests.registry import registry

ROOT = Path(__file__).resolve().parents[1]
DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that versions stand in."""
    shutil.copy(ROOT / "versions.toml", tmp_path)
    for file in {file for pin in read() for file, _ in pin.places}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def test_every_version_stands_where_it_is_used_as_the_file_says(copy: Path) -> None:
    assert write(read(copy), copy) == [], "run make versions"


def test_a_changed_version_is_written_everywhere_and_read_again(copy: Path) -> None:
    text = (copy / "versions.toml").read_text()
    (copy / "versions.toml").write_text(text.replace('version = "26.11"', 'version = "27.01"'))
    changed = write(read(copy), copy)
    (triton,) = (pin for pin in read(copy) if pin.name == "triton")
    assert set(changed) == {file for file, _ in triton.places}
    assert "tritonserver:27.01-py3}" in (copy / "docker-compose.yaml").read_text()
    assert "26.11" not in "".join((copy / file).read_text() for file in changed)
    assert write(read(copy), copy) == []


def test_a_digest_is_written_behind_its_tag_and_taken_away_again(copy: Path) -> None:
    before = (copy / "docker-compose.yaml").read_text()
    write_digests(read(copy), lambda _: DIGEST, copy)
    write(read(copy), copy)
    compose = (copy / "docker-compose.yaml").read_text()
    assert f"-slim-bookworm@{DIGEST}}}" in compose
    assert f"-py3@{DIGEST}}}" in compose
    assert compose.count(DIGEST) == before.count("_IMAGE:-") - before.count("_IMAGE:-triton-kafka-")
    text = (copy / "versions.toml").read_text()
    (copy / "versions.toml").write_text(text.replace(f'digest = "{DIGEST}"\n', ""))
    write(read(copy), copy)
    assert (copy / "docker-compose.yaml").read_text() == before


def test_a_registry_that_does_not_answer_changes_nothing(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (copy / "versions.toml").read_text()
    for name in ("docker", "skopeo"):
        (tmp_path / name).write_text("#!/bin/sh\necho no such host >&2; exit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(LookupError, match="no such host"):
        write_digests(read(copy), ask_image, copy)
    assert (copy / "versions.toml").read_text() == before


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
def test_a_registry_is_asked_for_what_a_tag_means_on_all_platforms() -> None:
    with registry("lab/python", "3.11-slim") as (host, digest):
        assert ask_image(f"{host}/lab/python:3.11-slim") == digest
        with pytest.raises(LookupError, match="unknown"):
            ask_image(f"{host}/lab/python:4.0")


def test_a_place_that_is_gone_is_named(copy: Path) -> None:
    (copy / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(LookupError, match=r"Dockerfile has no 'tritonserver:"):
        write(read(copy), copy)


@pytest.mark.parametrize(
    ("version", "newest", "is_newer"),
    [
        ("3.16.0", "3.16.0", False),
        ("3.16.0", "3.16.1", True),
        ("3.9.0", "3.16.0", True),
        ("3.16.0", "3.9.9", False),
        ("29", "29.9.3", False),
        ("29", "30.0.0", True),
    ],
)
def test_newer_counts_numbers_as_far_as_the_pin_says(
    version: str, newest: str, is_newer: bool
) -> None:
    assert newer(version, newest) == is_newer


def test_what_is_behind_is_said_and_so_is_what_nobody_answers() -> None:
    def unknown(what: str) -> str:
        raise LookupError(f"no answer about {what}")

    pins = [
        Pin("old", "1.0", (), ("go", "example/old")),
        Pin("new", "2.0", (), ("go", "example/new")),
        Pin("away", "1.0", (), ("maven", "pom.xml")),
        Pin("hand", "1.0", (), ("look", "its page")),
    ]
    assert list(behind(pins, {"go": lambda _: "2.0", "maven": unknown})) == [
        ("old 1.0: 2.0 is there", True),
        ("away 1.0: not known (no answer about pom.xml)", False),
        ("hand 1.0: look at its page", True),
    ]


def test_what_is_outdated_fails_where_nobody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("go", "mvn"):
        (tmp_path / name).write_text("#!/bin/sh\necho no route >&2; exit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(versions, "python_packages", lambda: iter(()))
    with pytest.raises(typer.Exit) as ended:
        versions.main(outdated=True)
    assert ended.value.exit_code == 1
    said = capsys.readouterr()
    assert re.search(r"^kafka [\d.]+: not known \(no route\)$", said.err, re.MULTILINE)
    assert "look at" in said.out
    assert "not known" not in said.out


def test_an_index_of_python_packages_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "uv (0.14.2)\nAvailable versions: 0.14.2, 0.13.9\n"
    monkeypatch.setattr(versions, "_said", lambda *_: said)
    assert ask_pypi("uv") == "0.14.2"
    with pytest.raises(LookupError, match="no versions of another"):
        ask_pypi("another")


def test_every_image_and_tool_that_is_named_has_its_entry() -> None:
    """What stands in no lock file is found by "make outdated", and an image gets its digest."""
    pins = read()
    images = {pin.image.format(pin.version) for pin in pins if pin.image}
    (checked,) = re.findall(
        r"verify_image: (\S+)",
        (ROOT / "ansible/roles/nvidia_container_toolkit/defaults/main.yml").read_text(),
    )
    assert re.sub("@.*", "", checked) in images
    in_places = {(file, text.split(" :=")[0]) for pin in pins for file, text in pin.places}
    tools = re.findall(
        r"^([A-Z_]+) := \d+\.\d+\.\d+$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert tools
    assert {("Makefile", tool) for tool in tools} <= in_places


def test_a_node_takes_no_package_of_docker_in_whatever_version_there_is() -> None:
    text = (ROOT / "ansible/roles/docker/defaults/main.yml").read_text()
    assert re.findall(r'^  [a-z.-]+: ""$', text, re.MULTILINE) == []


def test_prereleases_are_left_out_and_prometheus_modules_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "go").write_text(
        "#!/bin/sh\necho example/prometheus v0.314.0 v0.316.0 v0.317.0-rc.0\n"
    )
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert ask_go("example/prometheus") == "3.16.0"
