"""The driver as NVIDIA packages it: many packages of one version, branches side by side."""

from __future__ import annotations

from pathlib import Path

from tests.ansible.lab.aptrepo import build_deb

OLDER = ("470.256.02-1", "580.95.05-1", "580.105.08-1")
# All that the repositories of Debian 13 and Ubuntu 26.04 have.
NEWER = ("595.58.03-1", "595.71.05-1", "615.71.09-1")
# Those without NVIDIA's name in theirs.
LIBRARIES = ("libcuda1", "libcudadebugger1", "libnvcuvid1", "libnvoptix1")
# A replaced driver needs a reboot, which empties /run.
STALE = '#!/bin/sh\n[ -z "$2" ] || touch /run/nvidia-stale\n'


def build_driver(directory: Path, version: str, smi: str) -> None:
    """All packages of one version. ``smi`` is the program nvidia-smi."""

    def same(*names: str) -> str:
        return ", ".join(f"{name} (= {version})" for name in names)

    for name in LIBRARIES:
        build_deb(directory, name, version, depends=same("libnvidia-ml1"))
    build_deb(directory, "libnvidia-ml1", version)
    build_deb(directory, "libxnvctrl0", version)
    build_deb(directory, "nvidia-settings", version, depends=same("libxnvctrl0"))
    for flavour in ("open-", ""):
        build_deb(directory, f"nvidia-kernel-{flavour}dkms", version)
    build_deb(
        directory,
        "nvidia-driver-cuda",
        version,
        depends=same(*LIBRARIES),
        files={"/usr/bin/nvidia-smi": smi},
        postinst=STALE,
    )
    driver = ("nvidia-driver-cuda", "nvidia-settings")
    build_deb(directory, "nvidia-open", version, depends=same("nvidia-kernel-open-dkms", *driver))
    build_deb(directory, "cuda-drivers", version, depends=same("nvidia-kernel-dkms", *driver))
