"""Which named stacks run, and where; each has a folder under `stack.paths.STACKS`."""

import fcntl
import json
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from stack.errors import StackError


@dataclass(frozen=True, slots=True)
class State:
    """The state that a running stack publishes.

    Attributes:
        pid: id of the process that runs it in the foreground.
        born: start time of that process in clock ticks since boot, because its id may have been
            reused.
        ready: False while it starts.
        endpoints: addresses (`host:port`) by name.
    """

    pid: int
    born: int
    ready: bool = False
    endpoints: dict[str, str] = field(default_factory=dict)


@contextmanager
def claim(directory: Path) -> Iterator[None]:
    """Hold the lock of the stack in `directory`; the kernel releases it when this process dies.

    Raises:
        StackError: another process runs the stack.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"stack {directory.name!r} runs already; tkb stack down --name "
                f"{directory.name} stops it, --name OTHER starts one beside it"
            ) from None
        try:
            yield
        finally:
            _file(directory).unlink(missing_ok=True)


def publish(directory: Path, *, ready: bool, endpoints: dict[str, str]) -> None:
    """Publish the state of this process's stack."""
    pid = os.getpid()
    born = started_at(pid)
    assert born is not None
    scratch = _file(directory).with_suffix(".new")
    scratch.write_text(json.dumps(asdict(State(pid, born, ready, endpoints)), indent=2))
    scratch.replace(_file(directory))


def find(directory: Path) -> State | None:
    """The state of the stack that runs in `directory`, or None; a dead stack's state is removed."""
    try:
        state = State(**json.loads(_file(directory).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise StackError(f"{_file(directory)} is not a stack's state, delete it: {error}") from None
    if started_at(state.pid) == state.born:
        return state
    _file(directory).unlink(missing_ok=True)
    return None


def terminate(state: State, timeout_s: float) -> None:
    """Ask the process to stop its stack and wait; kill it, and so its servers, after `timeout_s`.

    Raises:
        StackError: it belongs to another user, or cannot be killed.
    """
    try:
        process = os.pidfd_open(state.pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor is of whoever has the pid now: check again that it is the same process.
        if started_at(state.pid) != state.born:
            return
        for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 10.0)):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)
            if select.select([process], [], [], patience_s)[0]:
                return
        raise StackError(f"process {state.pid} does not end")
    except PermissionError:
        raise StackError(f"process {state.pid} belongs to another user") from None
    finally:
        os.close(process)


def _file(directory: Path) -> Path:
    return directory / "state.json"


def started_at(pid: int) -> int | None:
    """Start time of a process, from proc(5); None if it does not exist or is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself contain blanks and parentheses; the 3rd field follows it.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])
