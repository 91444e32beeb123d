"""Children never outlive their parent, and their failures are told with their log."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.paths import ROOT
from stack.ports import HOST, free_ports, require_free
from stack.process import Child
from stack.service import Command, Service
from stack.state import started_at
from tests.waiting import eventually

pytestmark = pytest.mark.slow


PARENT = """
import sys, threading
from pathlib import Path
from stack.process import Child

def start():
    global child
    script = "sleep 600 & echo $$ $!; wait"
    child = Child(["sh", "-c", script], log_path=Path("log"), env=None, cwd=Path("."))

thread = threading.Thread(target=start)
thread.start()
thread.join()
if "pause" in sys.argv:
    while not Path("log").read_text().count("\\n"):
        pass
    child.pause()
print("started", flush=True)
sys.stdin.read()
"""


class Script(Service):
    """A server that is a shell script, ready when it has written the file `ready`."""

    def __init__(self, directory: Path, script: str) -> None:
        super().__init__("Script", directory)
        self.script = script

    def _prepare(self) -> Command:
        return Command(["sh", "-c", self.script])

    def _is_ready(self) -> bool:
        return (self.directory / "ready").exists()

    def _causes(self, log: str) -> list[str]:
        return [line for line in log.splitlines() if line.startswith("E ")]


def child(tmp_path: Path, *argv: str) -> Child:
    return Child(argv, log_path=tmp_path / "log", env=None, cwd=tmp_path)


@pytest.mark.parametrize("state", ["runs", "pause"])
def test_a_child_and_its_own_children_die_with_a_killed_parent_whatever_thread_asked_for_them(
    tmp_path: Path, state: str
) -> None:
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        eventually(lambda: len(log.read_text().split()) == 2)
        pids = [int(pid) for pid in log.read_text().split()]
        assert None not in [started_at(pid) for pid in pids]
        parent.kill()
    eventually(lambda: [started_at(pid) for pid in pids] == [None, None])


def test_what_a_child_leaves_behind_in_its_group_is_killed(tmp_path: Path) -> None:
    running = child(tmp_path, "sh", "-c", "sleep 600 & echo $!")
    assert running.wait(30)
    orphan = int((tmp_path / "log").read_text())
    eventually(lambda: started_at(orphan) is None)


def test_a_program_that_does_not_exist_fails_with_its_name(tmp_path: Path) -> None:
    running = Script(tmp_path, "exec no-such-program")
    with pytest.raises(StackError, match=r"status 127[\s\S]*no-such-program"):
        running.start()
    assert not running.running


def test_a_failed_start_quotes_this_runs_errors_and_the_end_of_the_log(tmp_path: Path) -> None:
    server = Script(tmp_path, "echo 'E old'; exit 3")
    with pytest.raises(StackError):
        server.start()
    server.script = "echo 'E the cause'; seq 1 100; exit 3"
    with pytest.raises(StackError) as caught:
        server.start()
    text = str(caught.value)
    assert text.startswith("Script did not start: it exited with status 3\n")
    assert "  E the cause\n" in text
    assert text.endswith("  99\n  100")
    assert str(server.log_path) in text
    assert "old" not in text


def test_a_server_that_is_never_ready_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    server = Script(tmp_path, "exec sleep 600")
    server.launch()
    pid = server.pid
    with pytest.raises(StackError, match="did not become ready"):
        server.wait_ready(timeout_s=0)
    assert started_at(pid) is None


def test_stop_lets_the_server_finish_even_when_it_is_paused(tmp_path: Path) -> None:
    server = Script(
        tmp_path, "trap 'echo bye; exit 0' TERM; touch ready; while :; do sleep 0.05; done"
    )
    server.start()
    server.pause()
    server.stop()
    assert server.log_path.read_text() == "bye\n"
    assert not server.running


def test_stop_and_kill_may_be_called_twice_and_before_the_start(tmp_path: Path) -> None:
    server = Script(tmp_path, "touch ready; exec sleep 600")
    server.stop()
    with server:
        pid = server.pid
        server.kill()
        server.kill()
    assert started_at(pid) is None
    with pytest.raises(StackError, match="Script is not running"):
        server.pause()


def test_a_server_that_dies_by_itself_is_noticed(tmp_path: Path) -> None:
    with Script(tmp_path, "touch ready; exec sleep 600") as server:
        server.require_alive()
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: not server.running)
        with pytest.raises(StackError, match="Script died: it was killed by SIGKILL"):
            server.require_alive()


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        require_free(port, "test")


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"Kafka: port {port} on {HOST} is not available"):
            require_free(port, "Kafka")


def test_children_start_from_many_threads_at_once(tmp_path: Path) -> None:
    children: list[Child] = []
    threads = [
        threading.Thread(target=lambda: children.append(child(tmp_path, "true"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(children) == 8
    assert all(one.wait(30) and one.fate == "exited with status 0" for one in children)


SPINNING = """
import threading
def spin():
    while True:
        pass
for _ in range(8):
    threading.Thread(target=spin, daemon=True).start()
print("spinning", flush=True)
spin()
"""


def test_a_paused_process_does_nothing_more(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Child([sys.executable, "-c", SPINNING], log_path=log, env=None, cwd=tmp_path)
    try:
        eventually(lambda: log.exists() and "spinning" in log.read_text(), "its threads")
        child.pause()
        tasks = Path(f"/proc/{child.pid}/task")
        states = {
            (one / "stat").read_text().rpartition(")")[2].split()[0] for one in tasks.iterdir()
        }
        assert states == {"T"}
    finally:
        child.kill()
