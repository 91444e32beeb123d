"""Builds what the lab's machines are made of, once a system, into a cache.

``base``: a debootstrap root. ``shared/apt/*``: signed repositories with the system's own docker.io
and its dependencies, and stand-ins for NVIDIA's packages and Docker's package names. ``images``: a
/var/lib/docker and containerd that hold the stand-in images, which no registry could give here.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.ansible.lab.aptrepo import build_deb, make_key, publish, rename_deb
from tests.ansible.lab.driver import NEWER, OLDER, build_driver
from tests.ansible.lab.machine import clone

HERE = Path(__file__).parent
CACHE = Path(
    os.environ.get("ANSIBLE_LAB_CACHE", Path.home() / ".cache" / "triton-kafka-ansible-lab")
)
BASE_PACKAGES = (
    "systemd,systemd-sysv,dbus,python3,python3-apt,ca-certificates,kmod,iproute2,sudo,"
    "gpgv,procps,busybox-static"
)


@dataclass(frozen=True)
class System:
    """An operating system that the roles are written for, and where its packages come from."""

    suite: str
    distribution: str
    components: str
    # Suites to download Docker from, and whether all but the first give way to it.
    more_suites: tuple[str, ...]
    later: bool
    engine: tuple[str, ...]
    compose: str
    # Versions of the driver in NVIDIA's repository of that system.
    drivers: tuple[str, ...] = OLDER + NEWER


# Debian 12's own docker.io has no Compose plugin; the next release's packages run on 12's libc.
DEBIAN_12 = System(
    suite="bookworm",
    distribution="debian",
    components="main",
    more_suites=("trixie",),
    later=True,
    engine=("docker.io/trixie", "docker-cli/trixie"),
    compose="docker-compose/trixie",
)
DEBIAN_13 = System(
    suite="trixie",
    distribution="debian",
    components="main",
    more_suites=("trixie-updates",),
    later=False,
    engine=("docker.io", "docker-cli"),
    compose="docker-compose",
    drivers=NEWER,
)
UBUNTU_26_04, UBUNTU_24_04, UBUNTU_22_04 = (
    System(
        suite=suite,
        distribution="ubuntu",
        components="main universe",
        more_suites=(f"{suite}-updates",),
        later=False,
        engine=("docker.io",),
        compose="docker-compose-v2",
        drivers=NEWER if suite == "resolute" else OLDER + NEWER,
    )
    for suite in ("resolute", "noble", "jammy")
)
SYSTEMS = (DEBIAN_12, DEBIAN_13, UBUNTU_26_04, UBUNTU_24_04, UBUNTU_22_04)
# Debian has no package of Ubuntu's keys; they are taken from Ubuntu's, known by its SHA-256.
UBUNTU_KEYRING = Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg")
UBUNTU_KEYRING_DEB = "pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb"
UBUNTU_KEYRING_SHA256 = "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8"
# What older descriptions made goes when nothing has used it for a week.
UNUSED_S = 7 * 24 * 3600
TOOLKITS = ("1.17.8-1", "1.20.2-1")
DOCKERS = ("5:29.9.2-1", "5:29.9.3-1")
TOOLKIT_PROGRAMS = ("nvidia-ctk", "nvidia-container-runtime", "nvidia-container-runtime-hook")
# From 1.18 on the toolkit makes a CDI specification by itself.
WITH_REFRESH = TOOLKITS[1:]
REFRESH_UNITS = ("nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service")
ENABLE_REFRESH = f"""#!/bin/sh
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
systemctl enable --now {" ".join(REFRESH_UNITS)} || true
"""
VERSIONS_OF = tomllib.loads((HERE.parents[2] / "versions.toml").read_text())
TRITON, OLD_TRITON = VERSIONS_OF["triton"]["version"], "24.07"
KAFKA = VERSIONS_OF["kafka"]["image"].format(VERSIONS_OF["kafka"]["version"])
# Image name to the program its containers run. All hold busybox and lab/image.
IMAGES = {
    KAFKA: "/lab/kafka.sh",
    "triton-kafka-bridge:latest": "/lab/bridge.sh",
    "ubuntu:24.04": "/bin/sh",
    f"nvcr.io/nvidia/tritonserver:{TRITON}-py3": "/bin/sh",
    f"nvcr.io/nvidia/tritonserver:{OLD_TRITON}-py3": "/bin/sh",
}


# Users that images run as, where it is not root: what that user cannot read, the container cannot.
USERS = {KAFKA: "1000"}


@dataclass(frozen=True)
class Lab:
    base: Path
    shared: Path
    images: Path


def mirror(system: System) -> str:
    """The one that the environment names, or that this machine's own packages come from.

    Raises:
        RuntimeError: it has none of that distribution.
    """
    variable = f"{system.distribution.upper()}_MIRROR"
    if variable in os.environ:
        return os.environ[variable]
    for file in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        if file.is_file() and (
            found := re.search(rf"https?://\S+/{system.distribution}/?(?=\s)", file.read_text())
        ):
            return found[0]
    raise RuntimeError(
        f"this machine has no apt source of {system.distribution}: set {variable} to the "
        f"address of an archive that has {system.suite}"
    )


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(c) for c in command], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{command}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )


def _keyring(system: System) -> list[str]:
    """debootstrap's option that names the archive's keys, where it does not know them."""
    if system.distribution == "debian" or UBUNTU_KEYRING.exists():
        return []
    keyring = CACHE / UBUNTU_KEYRING.name
    if not keyring.exists():
        with tempfile.TemporaryDirectory() as scratch:
            deb = Path(scratch) / "keyring.deb"
            url = f"{mirror(system)}/{UBUNTU_KEYRING_DEB}"
            helper = "/usr/lib/apt/apt-helper"
            _run(helper, "download-file", url, deb, f"SHA256:{UBUNTU_KEYRING_SHA256}")
            _run("dpkg-deb", "--extract", deb, scratch)
            shutil.copy(Path(scratch) / UBUNTU_KEYRING.relative_to("/"), keyring)
    return [f"--keyring={keyring}"]


def _debootstrap(system: System, base: Path) -> None:
    # Scripts of later suites are the same; older debootstraps do not name them all.
    script = Path("/usr/share/debootstrap/scripts") / system.suite
    known = script if script.exists() else script.with_name("jammy")
    _run(
        "debootstrap",
        "--variant=minbase",
        f"--components={system.components.replace(' ', ',')}",
        f"--include={BASE_PACKAGES}",
        *_keyring(system),
        system.suite,
        base,
        mirror(system),
        known,
    )
    (base / "etc/apt/sources.list").unlink(missing_ok=True)
    shutil.rmtree(base / "var/cache/apt/archives")
    (base / "var/cache/apt/archives/partial").mkdir(parents=True)


def _download(system: System, base: Path, target: Path, scratch: Path) -> None:
    _run("cp", "-a", base, scratch)
    for name in ("hosts", "resolv.conf"):
        shutil.copy(f"/etc/{name}", scratch / "etc" / name)
    # This machine's own way to its mirrors (proxies and the like) holds inside too.
    for conf in Path("/etc/apt/apt.conf.d").glob("*"):
        if re.search(r"Acquire", conf.read_text()):
            shutil.copy(conf, scratch / "etc/apt/apt.conf.d" / conf.name)
    (scratch / "etc/apt/sources.list").write_text(
        "".join(
            f"deb {mirror(system)} {suite} {system.components}\n"
            for suite in (system.suite, *system.more_suites)
        )
    )
    if system.later:
        (scratch / "etc/apt/preferences.d/later").write_text(
            "".join(
                f"Package: *\nPin: release n={suite}\nPin-Priority: 100\n"
                for suite in system.more_suites
            )
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
        *system.engine,
        system.compose,
        "containerd",
        "runc",
        "nftables",
        "iptables",
    )
    for deb in (scratch / "var/cache/apt/archives").glob("*.deb"):
        shutil.copy(deb, target / deb.name)
    shutil.rmtree(scratch)


def _stand_ins(system: System, apt: Path) -> None:
    def own(package: str) -> Path:
        return next((apt / "system").glob(f"{package.partition('/')[0]}_*"))

    stubs = {stub.name: stub.read_text() for stub in (HERE / "stubs").iterdir()}
    tini = ", tini" if list((apt / "system").glob("tini_*")) else ""
    for version in DOCKERS:
        rename_deb(
            own("docker.io"),
            apt / "docker",
            "docker-ce",
            version,
            f"adduser, containerd.io, runc, iptables, docker-ce-cli{tini}",
        )
        if len(system.engine) > 1:
            rename_deb(own(system.engine[1]), apt / "docker", "docker-ce-cli", version, "libc6")
        else:  # the engine's package has the client too
            build_deb(apt / "docker", "docker-ce-cli", version)
    build_deb(apt / "docker", "containerd.io", "2.2.1-1", depends="containerd")
    build_deb(apt / "docker", "docker-buildx-plugin", "0.29.1-1")
    rename_deb(own(system.compose), apt / "docker", "docker-compose-plugin", "5.7.1-1", "libc6")
    for version in system.drivers:
        smi = stubs["nvidia-smi"].replace("@VERSION@", version.split("-")[0])
        build_driver(apt / "nvidia", version, smi)
    refresh = {f"/usr/lib/systemd/system/{name}": stubs[name] for name in REFRESH_UNITS}
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
            files={f"/usr/bin/{name}": stubs[name] for name in TOOLKIT_PROGRAMS}
            | (refresh if version in WITH_REFRESH else {}),
            postinst=ENABLE_REFRESH if version in WITH_REFRESH else "",
        )
        for name in ("libnvidia-container-tools", "libnvidia-container1"):
            build_deb(apt / "toolkit", name, version)


def _images(system: System, base: Path, shared: Path, target: Path, scratch: Path) -> None:
    """Fill /var/lib/docker and containerd by running Docker once in a machine of its own."""
    image = scratch.with_name("image")
    shutil.copytree(HERE / "image", image)
    for directory in ("bin", "tmp"):
        (image / directory).mkdir(exist_ok=True)
    (image / "tmp").chmod(0o1777)
    shutil.copy(base / "bin/busybox", image / "bin/busybox")
    for applet in (
        "sh",
        "httpd",
        "wget",
        "sleep",
        "cat",
        "env",
        "mkdir",
        "touch",
        "basename",
        "dirname",
    ):
        (image / "bin" / applet).symlink_to("busybox")
    _run("tar", "-C", image, "-cf", shared / "image.tar", ".")
    shutil.rmtree(image)
    machine = clone(base, scratch, shared)
    lab_sources(machine.root)
    machine.boot()
    try:
        machine.run("apt-get", "update")
        engine = [package.partition("/")[0] for package in system.engine]
        machine.run("apt-get", "install", "--yes", "--no-install-recommends", *engine)
        for name, program in IMAGES.items():
            machine.run(
                "docker",
                "import",
                "--change",
                "ENV PATH=/bin:/usr/bin",
                "--change",
                f'CMD ["{program}"]',
                "--change",
                f"USER {USERS.get(name, '0')}",
                "/srv/lab/image.tar",
                name,
            )
        machine.run("systemctl", "stop", "docker.service", "docker.socket", "containerd.service")
        # From Docker 29 on, images are containerd's.
        target.mkdir()
        for directory in ("docker", "containerd"):
            _run("cp", "-a", machine.root / "var/lib" / directory, target)
    finally:
        machine.destroy()


def lab_sources(root: Path) -> None:
    """The system's packages come from the lab's repository, which the machine sees as /srv/lab."""
    (root / "etc/apt/sources.list.d/system.sources").write_text(
        "Types: deb\nURIs: file:/srv/lab/apt/system\nSuites: /\nSigned-By: /srv/lab/key.asc\n"
    )


def build(system: System) -> Lab:
    """The lab's parts, from the cache where they were built from the same description."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:  # tests that run side by side build it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(system)


def _build(system: System) -> Lab:
    parts = [HERE / name for name in ("build.py", "aptrepo.py", "driver.py")]
    parts.append(HERE.parents[2] / "versions.toml")
    parts += (HERE / "stubs").rglob("*")
    parts += (HERE / "image").rglob("*")
    described = hashlib.sha256(
        b"".join(part.read_bytes() for part in sorted(parts) if part.is_file())
    ).hexdigest()[:12]
    home = CACHE / f"{described}-{system.suite}"
    lab = Lab(CACHE / f"base-{system.suite}", home / "shared", home / "images")
    if (home / ".complete").exists():
        (home / ".complete").touch()
        return lab
    if home.exists():
        shutil.rmtree(home)
    for old in CACHE.glob("*/.complete"):
        if time.time() - old.stat().st_mtime > UNUSED_S:
            shutil.rmtree(old.parent)
    for name in ("system", "docker", "nvidia", "toolkit"):
        (lab.shared / "apt" / name).mkdir(parents=True)
    if not lab.base.exists():
        partial = CACHE / f"base-{system.suite}.partial"
        if partial.exists():
            shutil.rmtree(partial)
        _debootstrap(system, partial)
        partial.rename(lab.base)
    debs = CACHE / f"debs-{system.suite}"
    if not debs.exists():
        partial = CACHE / f"debs-{system.suite}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _download(system, lab.base, partial, home / "download")
        partial.rename(debs)
    for deb in debs.glob("*.deb"):
        shutil.copy(deb, lab.shared / "apt/system" / deb.name)
    _stand_ins(system, lab.shared / "apt")
    (lab.shared / "key.asc").write_text(make_key(home / "gpg"))
    for repository in (lab.shared / "apt").iterdir():
        publish(repository, home / "gpg")
    _images(system, lab.base, lab.shared, lab.images, home / "scratch")
    (home / ".complete").touch()
    return lab
