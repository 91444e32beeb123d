"""`python -m stack` as a user runs it."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from stack.paths import ROOT, STACKS
from stack.state import started_at
from tests.waiting import eventually
from wire.topics import DEAD_LETTERS, IMAGES, PREDICTIONS

pytestmark = pytest.mark.slow


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    stack("down", "--name", name)
    shutil.rmtree(STACKS / name, ignore_errors=True)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stack", *arguments]


def stack(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


@contextmanager
def up(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A stack; a test that fails does not wait for a stack that nobody stops."""
    with subprocess.Popen(
        command("up", *arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"it ended without saying {text!r}:\n{seen}")


def servers_of(pid: int) -> list[int]:
    """The servers of a stack: its children, without the shells that guard them."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread that has ended since it was listed has no children.
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return [one for one in found if Path(f"/proc/{one}/comm").read_text() != "sh\n"]


def test_up_status_down(name: str, identity_repository: Path) -> None:
    with up("--name", name, "--model-repository", str(identity_repository)) as running:
        said = read_until(running, "Ctrl-C")
        found = re.search(r"--brokers (\S+) --triton (\S+)", said)
        assert found is not None
        brokers, triton = found.groups()
        topics = AdminClient({"bootstrap.servers": brokers}).list_topics(timeout=30).topics
        for topic in (IMAGES, PREDICTIONS, DEAD_LETTERS):
            assert len(topics[topic].partitions) == 4
        status = stack("status", "--name", name)
        assert status.returncode == 0
        assert brokers in status.stdout
        assert triton in status.stdout
        again = stack("up", "--name", name, "--no-triton")
        assert again.returncode == 1
        assert f"stack '{name}' runs already" in again.stderr
        servers = servers_of(running.pid)
        assert len(servers) == 2
        down = stack("down", "--name", name)
        assert down.returncode == 0
        assert running.wait(60) == 0
    assert [started_at(pid) for pid in servers] == [None, None]
    status = stack("status", "--name", name)
    assert status.returncode == 1
    assert "does not run" in status.stderr


def test_nothing_outlives_a_killed_stack_and_its_name_is_free_again(name: str) -> None:
    with up("--name", name, "--no-triton") as running:
        read_until(running, "Ctrl-C")
        (broker,) = servers_of(running.pid)
        running.kill()
    eventually(lambda: started_at(broker) is None)
    assert stack("status", "--name", name).returncode == 1
    with up("--name", name, "--no-triton") as running:
        read_until(running, "Ctrl-C")
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0


def test_the_page_of_ui_is_served_while_the_stack_runs(name: str) -> None:
    with up("--name", name, "--no-triton", "--ui") as running:
        found = re.search(r"127\.0\.0\.1:(\d+)/", read_until(running, "Ctrl-C"))
        assert found is not None
        with closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)) as page:
            page.request("GET", "/")
            assert b"<title>Live view</title>" in page.getresponse().read()
        servers = servers_of(running.pid)
        assert len(servers) == 2
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    assert [started_at(pid) for pid in servers] == [None, None]


def test_the_page_is_not_to_be_had_without_kafka() -> None:
    answer = stack("up", "--name", "none", "--no-kafka", "--ui")
    assert answer.returncode == 2
    assert "--no-kafka" in answer.stderr


def test_a_server_that_dies_ends_the_stack_with_the_reason(
    name: str, identity_repository: Path
) -> None:
    repository = str(identity_repository)
    with up("--name", name, "--no-kafka", "--model-repository", repository) as running:
        read_until(running, "Ctrl-C")
        (server,) = servers_of(running.pid)
        os.kill(server, signal.SIGKILL)
        said = read_until(running, "Triton died: it was killed by SIGKILL")
        assert running.wait(60) == 1
    assert "Triton" in said


def test_an_empty_model_repository_names_the_command_that_fills_it(tmp_path: Path) -> None:
    answer = stack("up", "--name", "none", "--model-repository", str(tmp_path))
    assert answer.returncode == 1
    assert "tkb export --backend python --repository" in answer.stderr


def test_a_name_that_is_no_folder_name_is_refused() -> None:
    answer = stack("up", "--name", "../elsewhere")
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
