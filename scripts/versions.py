"""Versions of images and packages: written where they stand, and compared with the newest."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

ROOT = Path(__file__).resolve().parents[1]
NUMBER = re.compile(r"v?(\d+(?:\.\d+)*)")
VERSION, DIGEST = r"[0-9][\w.]*?", r"(?:@sha256:[0-9a-f]{64})?"
# So that a version does not end before the text's does.
END = r"(?![\w.@])"
Ask = Callable[[str], str]
"""From what a pin names to the newest version; LookupError where no answer can be had."""


class Line(NamedTuple):
    """One line of "make outdated"; not known: whoever should have been asked did not answer."""

    text: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class Pin:
    """One entry of versions.toml.

    Attributes:
        places: (file, text with {} for the version and {@} for the digest).
        image: its name with {} for the version, where it is one.
        digest: "sha256:..." of that image; empty: whatever its tag means.
        source: ("go" | "maven" | "pypi" | "look", what that asks for).
    """

    name: str
    version: str
    places: tuple[tuple[str, str], ...]
    source: tuple[str, str]
    image: str = ""
    digest: str = ""


def read(root: Path = ROOT) -> list[Pin]:
    entries = tomllib.loads((root / "versions.toml").read_text())
    return [
        Pin(
            name,
            entry["version"],
            tuple((file, text) for file, _, text in (p.partition(": ") for p in entry["places"])),
            next((kind, entry[kind]) for kind in ("go", "maven", "pypi", "look") if kind in entry),
            entry.get("image", ""),
            entry.get("digest", ""),
        )
        for name, entry in entries.items()
    ]


def write(pins: list[Pin], root: Path = ROOT) -> list[str]:
    """Put each version where it belongs; the files that changed.

    Raises:
        LookupError: a place is not there: versions.toml, or the file, was changed alone.
    """
    changed = set()
    for pin in pins:
        for file, text in pin.places:
            digest = f"@{pin.digest}" if pin.digest else ""
            wanted = text.replace("{}", pin.version).replace("{@}", digest)
            pattern = re.escape(text).replace(r"\{\}", VERSION).replace(r"\{@\}", DIGEST)
            old = (root / file).read_text()
            new, count = re.subn(pattern + END, wanted.replace("\\", r"\\"), old)
            if not count:
                raise LookupError(f"{file} has no {text!r}, where versions.toml has {pin.name}")
            if new != old:
                (root / file).write_text(new)
                changed.add(file)
    return sorted(changed)


def write_digests(pins: list[Pin], ask: Ask, root: Path = ROOT) -> None:
    """Put into versions.toml what each image's tag means now.

    Raises:
        LookupError: a registry does not answer; nothing was written.
    """
    digests = {pin.name: ask(pin.image.format(pin.version)) for pin in pins if pin.image}
    text = (root / "versions.toml").read_text()
    for name, digest in digests.items():
        image = rf"(^\[{re.escape(name)}\][^[]*?^image = .*\n)(digest = .*\n)?"
        text = re.compile(image, re.MULTILINE).sub(rf'\1digest = "{digest}"\n', text)
    (root / "versions.toml").write_text(text)


def newer(version: str, newest: str) -> bool:
    """Whether ``newest`` is above ``version``, as far as that says: 29.1 is not above 29."""
    numbers = [int(part) for part in version.split(".")]
    return [int(part) for part in newest.split(".")][: len(numbers)] > numbers


def behind(pins: list[Pin], ask: Mapping[str, Ask]) -> Iterator[Line]:
    """A line for each pin that is behind, or that nobody can be asked about."""
    for pin in pins:
        kind, what = pin.source
        if kind == "look":
            yield Line(f"{pin.name} {pin.version}: look at {what}")
            continue
        try:
            newest = ask[kind](what)
        except LookupError as error:
            yield Line(f"{pin.name} {pin.version}: not known ({error})", known=False)
            continue
        if newer(pin.version, newest):
            yield Line(f"{pin.name} {pin.version}: {newest} is there")


def _said(*command: str | Path) -> str:
    try:
        done = subprocess.run(
            [str(word) for word in command],
            check=False,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookupError(str(error)) from None
    if done.returncode:
        raise LookupError((done.stderr or done.stdout).strip()[-300:])
    return done.stdout


def ask_go(module: str) -> str:
    versions = _said("go", "list", "-m", "-versions", module).split()[1:]
    released = [v.removesuffix("+incompatible") for v in versions]
    plain = [v.removeprefix("v") for v in released if NUMBER.fullmatch(v)]
    if not plain:
        raise LookupError(f"no versions of {module}")
    newest = max(plain, key=lambda v: [int(part) for part in v.split(".")])
    # Prometheus 3.16.0 is module version 0.316.0.
    as_module = re.fullmatch(r"0\.(\d)(\d\d)\.(\d+)", newest)
    return f"{as_module[1]}.{int(as_module[2])}.{as_module[3]}" if as_module else newest


def ask_maven(pom: str) -> str:
    """The newest Kafka, asked with the file that names ours."""
    goal = "org.codehaus.mojo:versions-maven-plugin:2.18.0:display-dependency-updates"
    said = _said("mvn", "--batch-mode", "--file", pom, goal)
    found = re.search(r"kafka_2\.13[\s.\[\]A-Z]+([\d.]+) ->\s+([\d.]+)\s", said)
    return found[2] if found else next(p.version for p in read() if p.source == ("maven", pom))


def ask_pypi(package: str) -> str:
    said = _said(sys.executable, "-m", "pip", "index", "versions", package)
    found = re.match(rf"{re.escape(package)} \(([\d.]+)\)", said)
    if not found:
        raise LookupError(f"no versions of {package}")
    return found[1]


def ask_image(image: str) -> str:
    """The digest that an image's tag means, of all platforms together, from its registry.

    With skopeo, or with Docker's own client: both know their users' credentials.
    """
    if shutil.which("skopeo"):
        # As Docker does: what is on this machine needs no TLS.
        local = ("--tls-verify=false",) if re.match(r"(localhost|127\.)", image) else ()
        words = ("skopeo", "inspect", "--no-tags", *local, "--format", "{{.Digest}}")
        said = _said(*words, f"docker://{image}").strip()
    else:
        form = ("--format", "{{.Manifest.Digest}}")
        said = _said("docker", "buildx", "imagetools", "inspect", image, *form).strip()
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", said):
        raise LookupError(f"{image}: {said[-300:]!r} is no digest")
    return said


ASKED: Mapping[str, Ask] = {"go": ask_go, "maven": ask_maven, "pypi": ask_pypi}


def python_packages() -> Iterator[Line]:
    """A line for each Python package that the project names itself and that is behind."""
    seen: set[str] = set()
    for environment, named, target in (
        (".venv", ROOT / "pyproject.toml", "demo"),
        (".venv-ansible", ROOT / "ansible/requirements.in", "ansible-venv"),
    ):
        pinned = re.compile(r"^\s*\"?([A-Za-z0-9-]+)(?:\[\w+\])?==", re.MULTILINE)
        names = set(pinned.findall(named.read_text()))
        seen |= names
        python = ROOT / environment / "bin/python"
        if not python.exists():
            yield Line(f"packages of {environment}: not looked at, make {target} installs them")
            continue
        list_them = ("pip", "list", "--outdated", "--format=json", "--python", python)
        try:
            found = json.loads(_said(ROOT / environment / "bin/uv", *list_them))
        except LookupError as error:
            yield Line(f"packages of {environment}: not known ({error})", known=False)
            continue
        for one in found:
            if one["name"].lower() in names:
                yield Line(f"{one['name']} {one['version']}: {one['latest_version']} is there")
    # Of environments that few have.
    pins = [
        Pin(name, version, (), ("pypi", name))
        for file in ("exporter/decoding/requirements.in", "requirements/rivals.in")
        for name, version in re.findall(r"(?m)^([a-z0-9-]+)==([\d.]+)", (ROOT / file).read_text())
        if name not in seen
    ]
    yield from behind(pins, ASKED)


def main(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if it would.")
    ] = False,
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Say what is behind; fail if nobody answers.")
    ] = False,
    digests: Annotated[
        bool, typer.Option("--digests", help="Ask the registries for the images' digests first.")
    ] = False,
) -> None:
    """Write the versions of versions.toml wherever they stand."""
    pins = read()
    if outdated:
        unknown = 0
        for line in (*behind(pins, ASKED), *python_packages()):
            typer.echo(line.text, err=not line.known)
            unknown += not line.known
        if unknown:
            typer.echo(f"versions: of {unknown} nobody answered what is newest", err=True)
            raise typer.Exit(1)
        return
    if digests:
        try:
            write_digests(pins, ask_image)
        except LookupError as error:
            typer.echo(f"versions: {error}", err=True)
            raise typer.Exit(1) from None
        pins = read()
    kept = {file: (ROOT / file).read_text() for pin in pins for file, _ in pin.places}
    try:
        changed = write(pins)
    except LookupError as error:
        typer.echo(f"versions: {error}", err=True)
        raise typer.Exit(1) from None
    if check and changed:
        for file in changed:
            (ROOT / file).write_text(kept[file])
        typer.echo(f"versions: run make versions: {', '.join(changed)} differ", err=True)
        raise typer.Exit(1)
    for file in changed:
        typer.echo(file)


if __name__ == "__main__":
    typer.run(main)
