"""Builds small .deb packages and signed flat apt repositories from them."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path


def build_deb(
    directory: Path,
    name: str,
    version: str,
    *,
    depends: str = "",
    files: Mapping[str, str] | None = None,
    postinst: str = "",
) -> Path:
    """A package with executable ``files`` (path to text) and an optional postinst script."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        tree.chmod(0o755)
        control = tree / "DEBIAN"
        control.mkdir()
        fields = [
            f"Package: {name}",
            f"Version: {version}",
            "Architecture: amd64",
            "Maintainer: Lab <lab@example.org>",
            f"Description: stands in for {name}",
        ]
        if depends:
            fields.append(f"Depends: {depends}")
        (control / "control").write_text("\n".join(fields) + "\n")
        if postinst:
            (control / "postinst").write_text(postinst)
            (control / "postinst").chmod(0o755)
        for path, text in (files or {}).items():
            target = tree / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o755)
        deb = directory / f"{name}_{version.replace(':', '%3a')}_amd64.deb"
        subprocess.run(
            ["dpkg-deb", "--build", "--root-owner-group", "-Znone", str(tree), str(deb)],
            check=True,
            capture_output=True,
        )
    return deb


def rename_deb(source: Path, directory: Path, name: str, version: str, depends: str) -> Path:
    """The contents and scripts of package ``source`` as package ``name``."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        subprocess.run(["dpkg-deb", "--raw-extract", str(source), str(tree)], check=True)
        control = tree / "DEBIAN/control"
        control.write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
            "Maintainer: Lab <lab@example.org>\n"
            f"Depends: {depends}\nDescription: {source.name} under another name\n"
        )
        deb = directory / f"{name}_{version.replace(':', '%3a')}_amd64.deb"
        subprocess.run(
            ["dpkg-deb", "--build", "--root-owner-group", "-Zgzip", "-z1", str(tree), str(deb)],
            check=True,
            capture_output=True,
        )
    return deb


def make_key(home: Path) -> str:
    """A signing key without passphrase in ``home``; its ASCII-armoured public part."""
    home.mkdir(mode=0o700, exist_ok=True)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    subprocess.run(
        [
            *gpg,
            "--passphrase",
            "",
            "--quick-gen-key",
            "Lab <lab@example.org>",
            "ed25519",
            "sign",
            "never",
        ],
        check=True,
        capture_output=True,
    )
    return subprocess.run(
        [*gpg, "--armor", "--export"], check=True, capture_output=True, text=True
    ).stdout


def index(directory: Path) -> str:
    """The text of Packages for every .deb in ``directory``."""
    stanzas = []
    for deb in sorted(directory.glob("*.deb")):
        control = subprocess.run(
            ["dpkg-deb", "--field", str(deb)], check=True, capture_output=True, text=True
        ).stdout.rstrip()
        stanzas.append(
            f"{control}\nFilename: ./{deb.name}\nSize: {deb.stat().st_size}\n"
            f"SHA256: {hashlib.sha256(deb.read_bytes()).hexdigest()}\n"
        )
    return "\n".join(stanzas)


def publish(directory: Path, key_home: Path) -> None:
    """Write Packages and a signed InRelease for every .deb in ``directory``."""
    packages = index(directory).encode()
    (directory / "Packages").write_bytes(packages)
    release = (
        f"Origin: Lab\nLabel: Lab\nDate: {formatdate(usegmt=True)}\nSHA256:\n"
        f" {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    )
    subprocess.run(
        [
            "gpg",
            "--homedir",
            str(key_home),
            "--batch",
            "--yes",
            "--quiet",
            "--clearsign",
            "--output",
            str(directory / "InRelease"),
        ],
        input=release,
        text=True,
        check=True,
        capture_output=True,
    )
