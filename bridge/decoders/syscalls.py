"""System calls that a decoder never needs: the kernel refuses them from then on (seccomp).

The list says what is refused, not what is allowed: libraries change the calls that they make, and
no image must fail because of that. Files are left to Landlock and the limits, see `confine`.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import NamedTuple


class _Machine(NamedTuple):
    """Numbers of one architecture, from Linux's audit.h and unistd.h.

    Attributes:
        seccomp, clone, tgkill: numbers of these calls.
        refused: calls for network, programs, processes and the memory of other processes.
    """

    audit: int
    seccomp: int
    clone: int
    tgkill: int
    refused: tuple[int, ...]


_X86 = _Machine(
    0xC000003E, 317, 56, 234,
    (
        41, 42, 43, 44, 46, 49, 50, 53, 288, 307,  # socket, connect, accept, send..., bind, listen
        57, 58, 59, 322,  # fork, vfork, execve, execveat
        62, 129, 200, 101, 310, 311,  # kill, rt_sigqueueinfo, tkill, ptrace, process_vm_...
        165, 272, 308, 248, 249, 250, 298, 321, 323,  # mount, unshare, setns, keys, perf, bpf, ...
    ),
)  # fmt: skip
_ARM = _Machine(
    0xC00000B7, 277, 220, 131,
    (
        198, 203, 202, 206, 211, 200, 201, 199, 242, 269,
        221, 281,
        129, 138, 130, 117, 270, 271,
        40, 97, 268, 217, 218, 219, 241, 280, 282,
    ),
)  # fmt: skip
_MACHINES = {"x86_64": _X86, "aarch64": _ARM}
_EVERYWHERE = (424, 425, 434, 438)  # pidfd_send_signal, io_uring_setup, pidfd_open, pidfd_getfd
_CLONE3 = 435
_X32 = 0x4000_0000
"""Bit that is set in the call numbers of x86-64's other interface, x32."""
_CLONE_THREAD = 0x10000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of the kernel's filters (linux/bpf_common.h)."""
_NUMBER, _AUDIT, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets of the call's number, architecture and first argument (lower half) in seccomp_data."""
_ALLOW, _ERROR = 0x7FFF_0000, 0x0005_0000
_SET_FILTER, _ALL_THREADS = 1, 1


_Step = tuple[int, int, str | None, str | None]
"""Instruction, operand, label to jump to if it is true, and if it is false; None: the next step."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_system_calls(libc: ctypes.CDLL) -> bool:
    """Refuse the calls from now on, in all threads; False: this kernel cannot.

    `PR_SET_NO_NEW_PRIVS` must be set.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None or sys.byteorder != "little":
        return False
    code = _filter(machine)
    program = _Program(len(code) // 8, code)
    done: int = libc.syscall(machine.seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(program))
    return done == 0


def _filter(machine: _Machine) -> bytes:
    """The filter's program. The others jump to its last instructions."""
    refused = (*machine.refused, *_EVERYWHERE)
    steps: list[_Step] = [
        (_LOAD, _AUDIT, None, None),
        (_EQUAL, machine.audit, None, "refuse"),
        (_LOAD, _NUMBER, None, None),
        (_AT_LEAST, _X32, "refuse", None),
        # clone3 also makes threads, and the filter cannot see which kind is asked for. Where it is
        # reported as unknown, libraries call clone instead.
        (_EQUAL, _CLONE3, "unknown", None),
        *((_EQUAL, number, "refuse", None) for number in refused),
        (_EQUAL, machine.clone, "clone", None),
        (_EQUAL, machine.tgkill, "tgkill", "allow"),
    ]
    ends: dict[str, list[_Step]] = {
        "clone": [
            (_LOAD, _FIRST_ARGUMENT, None, None),
            (_ANY_BIT, _CLONE_THREAD, "allow", "refuse"),
        ],
        "tgkill": [
            (_LOAD, _FIRST_ARGUMENT, None, None),
            (_EQUAL, os.getpid(), "allow", "refuse"),  # abort() sends a signal to its own process
        ],
        "allow": [(_RETURN, _ALLOW, None, None)],
        "refuse": [(_RETURN, _ERROR | errno.EPERM, None, None)],
        "unknown": [(_RETURN, _ERROR | errno.ENOSYS, None, None)],
    }
    places = {}
    for name, end in ends.items():
        places[name] = len(steps)
        steps += end
    code = b""
    for place, (what, value, then, otherwise) in enumerate(steps):
        jumps = [0 if to is None else places[to] - place - 1 for to in (then, otherwise)]
        code += struct.pack("<HBBI", what, *jumps, value)
    return code
