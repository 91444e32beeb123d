"""Builds what the lab's machines are made of, once, into a cache.

``base``: a debootstrap root. ``shared/apt/*``: signed repositories with Debian's own docker.io and
its dependencies, and stand-ins for NVIDIA's packages and Docker's package names. ``images``: a
/var/lib/docker that holds the stand-in images, which no registry could give here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.ansible.lab.aptrepo import build_deb, make_key, publish, rename_deb
from tests.ansible.lab.machine import clone

HERE = Path(__file__).parent
CACHE = Path(
    os.environ.get("ANSIBLE_LAB_CACHE", Path.home() / ".cache" / "triton-kafka-ansible-lab")
)
SUITE = "bookworm"
# Debian 12's own docker.io has no Compose plugin; the next release's packages run on 12's libc.
NEXT_SUITE = "trixie"
BASE_PACKAGES = (
    "systemd,systemd-sysv,dbus,python3,python3-apt,ca-certificates,kmod,iproute2,sudo,"
    "gpgv,procps,busybox-static"
)
DOWNLOADED = (
    f"docker.io/{NEXT_SUITE}",
    f"docker-cli/{NEXT_SUITE}",
    f"docker-compose/{NEXT_SUITE}",
    "containerd",
    "runc",
    "nftables",
    "iptables",
)
DRIVERS = ("470.256.02-1", "580.95.05-1", "580.105.08-1", "595.10.01-1")
TOOLKITS = ("1.17.8-1", "1.18.1-1")
DOCKERS = ("5:28.5.1-1", "5:28.5.2-1")
# Image name to the program its containers run. All hold busybox and lab/image.
IMAGES = {
    "apache/kafka:4.3.1": "/lab/kafka.sh",
    "triton-kafka-bridge:latest": "/lab/bridge.sh",
    "ubuntu:24.04": "/bin/sh",
    "nvcr.io/nvidia/tritonserver:26.07-py3": "/bin/sh",
    "nvcr.io/nvidia/tritonserver:24.07-py3": "/bin/sh",
}


@dataclass(frozen=True)
class Lab:
    base: Path
    shared: Path
    images: Path


def mirror() -> str:
    """Debian's mirror: DEBIAN_MIRROR, or the first Debian archive in this machine's apt sources."""
    if "DEBIAN_MIRROR" in os.environ:
        return os.environ["DEBIAN_MIRROR"]
    for file in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        if file.is_file() and (
            found := re.search(r"https?://\S+/debian/?(?=\s)", file.read_text())
        ):
            return found[0]
    return "http://deb.debian.org/debian"


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(c) for c in command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{command}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


def _debootstrap(base: Path) -> None:
    _run("debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", SUITE, base, mirror())
    (base / "etc/apt/sources.list").unlink(missing_ok=True)
    shutil.rmtree(base / "var/cache/apt/archives")
    (base / "var/cache/apt/archives/partial").mkdir(parents=True)


def _download(base: Path, target: Path, scratch: Path) -> None:
    _run("cp", "-a", base, scratch)
    for name in ("hosts", "resolv.conf"):
        shutil.copy(f"/etc/{name}", scratch / "etc" / name)
    # This machine's own way to its mirrors (proxies and the like) holds inside too.
    for conf in Path("/etc/apt/apt.conf.d").glob("*"):
        if re.search(r"Acquire", conf.read_text()):
            shutil.copy(conf, scratch / "etc/apt/apt.conf.d" / conf.name)
    (scratch / "etc/apt/sources.list").write_text(
        "".join(f"deb {mirror()} {suite} main\n" for suite in (SUITE, NEXT_SUITE))
    )
    (scratch / "etc/apt/preferences.d/next").write_text(
        f"Package: *\nPin: release n={NEXT_SUITE}\nPin-Priority: 100\n"
    )
    _run("chroot", scratch, "apt-get", "update")
    _run(
        "chroot",
        scratch,
        "apt-get",
        "install",
        "--download-only",
        "--yes",
        "--no-install-recommends",
        "-o",
        "APT::Keep-Downloaded-Packages=true",
        *DOWNLOADED,
    )
    for deb in (scratch / "var/cache/apt/archives").glob("*.deb"):
        shutil.copy(deb, target / deb.name)
    shutil.rmtree(scratch)


def _stand_ins(apt: Path) -> None:
    def debian(pattern: str) -> Path:
        return next((apt / "debian").glob(pattern))

    stubs = {stub.name: stub.read_text() for stub in (HERE / "stubs").iterdir()}
    for version in DOCKERS:
        rename_deb(
            debian("docker.io_*"),
            apt / "docker",
            "docker-ce",
            version,
            "adduser, containerd.io, runc, iptables, tini, docker-ce-cli",
        )
        rename_deb(debian("docker-cli_*"), apt / "docker", "docker-ce-cli", version, "libc6")
    build_deb(apt / "docker", "containerd.io", "1.7.29-1", depends="containerd")
    build_deb(apt / "docker", "docker-buildx-plugin", "0.29.1-1")
    rename_deb(
        debian("docker-compose_*"), apt / "docker", "docker-compose-plugin", "2.40.3-1", "libc6"
    )
    for version in DRIVERS:
        smi = stubs["nvidia-smi"].replace("@VERSION@", version.split("-")[0])
        for name in ("nvidia-open", "cuda-drivers"):
            build_deb(
                apt / "nvidia",
                name,
                version,
                files={"/usr/bin/nvidia-smi": smi},
                # A replaced driver needs a reboot, which empties /run.
                postinst='#!/bin/sh\n[ -z "$2" ] || touch /run/nvidia-stale\n',
            )
    for version in TOOLKITS:
        build_deb(
            apt / "toolkit",
            "nvidia-container-toolkit",
            version,
            depends=f"nvidia-container-toolkit-base (= {version})",
        )
        build_deb(
            apt / "toolkit",
            "nvidia-container-toolkit-base",
            version,
            files={
                f"/usr/bin/{name}": stubs[name]
                for name in ("nvidia-ctk", "nvidia-container-runtime")
            },
        )
        for name in ("libnvidia-container-tools", "libnvidia-container1"):
            build_deb(apt / "toolkit", name, version)


def _images(base: Path, shared: Path, target: Path, scratch: Path) -> None:
    """Fill a /var/lib/docker by running Docker once in a machine of its own."""
    image = scratch.with_name("image")
    shutil.copytree(HERE / "image", image)
    for directory in ("bin", "tmp"):
        (image / directory).mkdir(exist_ok=True)
    shutil.copy(base / "bin/busybox", image / "bin/busybox")
    for applet in ("sh", "httpd", "wget", "sleep", "cat", "test", "echo", "env"):
        (image / "bin" / applet).symlink_to("busybox")
    _run("tar", "-C", image, "-cf", shared / "image.tar", ".")
    shutil.rmtree(image)
    machine = clone(base, scratch, shared)
    lab_sources(machine.root)
    machine.boot()
    try:
        machine.run("apt-get", "update")
        machine.run(
            "apt-get", "install", "--yes", "--no-install-recommends", "docker.io", "docker-cli"
        )
        for name, program in IMAGES.items():
            machine.run(
                "docker",
                "import",
                "--change",
                "ENV PATH=/bin:/usr/bin",
                "--change",
                f'CMD ["{program}"]',
                "/srv/lab/image.tar",
                name,
            )
        machine.run("systemctl", "stop", "docker.service", "docker.socket", "containerd.service")
        _run("cp", "-a", machine.root / "var/lib/docker", target)
    finally:
        machine.destroy()


def lab_sources(root: Path) -> None:
    """Debian's packages come from the lab's repository, which the machine sees under /srv/lab."""
    (root / "etc/apt/sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: file:/srv/lab/apt/debian\nSuites: /\nSigned-By: /srv/lab/key.asc\n"
    )


def build() -> Lab:
    """The lab's parts, from the cache where they were built from the same description."""
    parts = [HERE / "build.py", HERE / "aptrepo.py", *(HERE / "stubs").rglob("*")]
    parts += (HERE / "image").rglob("*")
    described = hashlib.sha256(
        b"".join(part.read_bytes() for part in sorted(parts) if part.is_file())
    ).hexdigest()[:12]
    home = CACHE / described
    lab = Lab(CACHE / f"base-{SUITE}", home / "shared", home / "docker")
    if (home / ".complete").exists():
        return lab
    if home.exists():
        shutil.rmtree(home)
    for name in ("debian", "docker", "nvidia", "toolkit"):
        (lab.shared / "apt" / name).mkdir(parents=True)
    if not lab.base.exists():
        partial = CACHE / "base.partial"
        if partial.exists():
            shutil.rmtree(partial)
        _debootstrap(partial)
        partial.rename(lab.base)
    debs = CACHE / f"debs-{SUITE}"
    if not debs.exists():
        partial = CACHE / "debs.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _download(lab.base, partial, home / "download")
        partial.rename(debs)
    for deb in debs.glob("*.deb"):
        shutil.copy(deb, lab.shared / "apt/debian" / deb.name)
    _stand_ins(lab.shared / "apt")
    (lab.shared / "key.asc").write_text(make_key(home / "gpg"))
    for repository in (lab.shared / "apt").iterdir():
        publish(repository, home / "gpg")
    _images(lab.base, lab.shared, lab.images, home / "images")
    (home / ".complete").touch()
    return lab
