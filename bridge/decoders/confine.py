"""What a decoder gives up before it sees an image: files, network, other programs and memory.

An unprivileged process can do all of it. What this kernel does not support is left out and
reported.
"""

import ctypes
import math
import resource
import struct
import sys

from bridge.decoders.syscalls import refuse_system_calls
from imaging.rules import ImageRules

BASE_BYTES = 2 << 30
"""Address space of Python, numpy and Pillow, in bytes; most of it is never used."""
BYTES_A_PIXEL = 40
"""Most bytes that decoding takes for each pixel: a progressive JPEG has coefficients (12), its
picture (4), and that picture turned and converted (8); an AVIF has planes of 16 bits, twice, and
its picture."""

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_VERSION = 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of file rights that each version of Landlock knows."""
_TCP = 0b11
_SCOPES = 0b11
"""The rights to use abstract sockets and to send signals to other processes."""


def confine(rules: ImageRules, slice_images: int) -> list[str]:
    """Give up what decoding does not need; every module must already be imported.

    Returns:
        The protections that this kernel does not support: landlock, seccomp.
    """
    missing = []
    _limit(resource.RLIMIT_AS, _address_space(rules, slice_images))
    _limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        if not _landlock(libc):
            missing.append("landlock")
        if not refuse_system_calls(libc):
            missing.append("seccomp")
    # No new descriptor: no file can be opened and no socket made. Last, since Landlock needs one.
    _limit(resource.RLIMIT_NOFILE, 0)
    return missing


def _address_space(rules: ImageRules, slice_images: int) -> int:
    assert rules.shape is not None
    slice_bytes = slice_images * math.prod(rules.shape)
    return BASE_BYTES + BYTES_A_PIXEL * rules.max_pixels + 8 * rules.max_bytes + 4 * slice_bytes


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _landlock(libc: ctypes.CDLL) -> bool:
    """Deny all that the kernel's Landlock knows, without exception; False: there is no Landlock."""
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        return False
    rights = (1 << _FILE_RIGHTS[min(version, 5)]) - 1
    fields = [rights]
    if version >= 4:
        fields.append(_TCP)
    if version >= 6:
        fields.append(_SCOPES)
    attributes = struct.pack(f"<{len(fields)}Q", *fields)
    rule_set = libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    if rule_set < 0:
        return False
    restricted: int = libc.syscall(_LANDLOCK_RESTRICT_SELF, rule_set, 0)
    return restricted == 0
