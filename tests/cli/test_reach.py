"""No Kafka at the address that was given: each command says so, in one line and soon."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from cli import clients
from cli.clients import CONNECT_S, REFUSED_S, ClientLog, reach
from cli.commands import INTERRUPTED, load
from stack.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "produce": ("produce", "cifar10", "--count", "1"),
    "measure": ("measure",),
    "read": ("read",),
    "dead-letters-list": ("dead-letters", "list"),
    "dead-letters-replay": ("dead-letters", "replay"),
    "topics-create": ("topics", "create"),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_each_command_ends_with_one_line(
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(clients, "REFUSED_S", 0.5)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    name, *arguments = words
    command: Any = load(name)
    with pytest.raises(SystemExit) as ended:
        command.main([*arguments, "--brokers", address])
    said = capfd.readouterr()
    assert ended.value.code == 1
    assert said.err.startswith("error: cannot ")
    assert f"Kafka at {address}: " in said.err
    assert said.err.endswith("Connection refused\n")
    assert said.err.count("\n") == 1, "nothing of the client's own log"
    assert said.out == ""


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_an_interrupt_while_kafka_is_awaited_ends_it(words: tuple[str, ...]) -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, str(ROOT / "cli"), *words, "--brokers", address]
        with (
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as child,
            silent.accept()[0],
        ):
            child.send_signal(signal.SIGINT)
            said, errors = child.communicate(timeout=120)
    assert child.returncode in (-signal.SIGINT, INTERRUPTED)
    assert (said, errors) == ("", "")


class Absent:
    """A client whose every question takes as long as it may, and gets no answer.

    Args:
        says: what it tells of its brokers when it is polled.
    """

    def __init__(self, now: list[float], says: Callable[[], None]) -> None:
        self._now = now
        self._says = says

    def list_topics(self, topic: str = "", timeout: float = -1.0) -> Any:
        assert topic == ""
        self._now[0] += timeout
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def poll(self, timeout: float) -> None:
        del timeout
        self._says()


@pytest.mark.parametrize(
    ("refused", "asked_s", "waited_s"),
    [(False, None, CONNECT_S), (True, None, REFUSED_S), (True, 30.0, 30.0), (False, 0.5, 0.5)],
)
def test_a_broker_that_refuses_is_given_up_sooner_than_a_silent_one(
    refused: bool, asked_s: float | None, waited_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, kept = [1000.0], ClientLog()
    monkeypatch.setattr("cli.clients.time.monotonic", lambda: now[0])
    error = KafkaError(KafkaError._TRANSPORT, "Connection refused")
    client = Absent(now, lambda: kept.error(error) if refused else None)
    with pytest.raises(KafkaException):
        reach(client, {"logger": kept}, asked_s)
    assert now[0] - 1000 == pytest.approx(waited_s, abs=0.2)
