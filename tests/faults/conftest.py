"""Trials on the session's servers, or on servers that a trial may break for good."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from producer.encoding import Encoding
from stack.kafka import Kafka
from stack.triton import Triton
from tests.conftest import Topics
from tests.faults.ledger import Ledger
from tests.faults.load import RATE
from tests.faults.trial import Trial, kept_running


class StartTrial(Protocol):
    """Makes the trial, with images flowing; anything that is not said is the session's."""

    def __call__(
        self,
        kafka: str = "",
        triton: str = "",
        topics: Topics | None = None,
        *,
        brokers: str | None = None,
        rate: float = RATE,
        encoding: Encoding = Encoding.RAW,
        references: Sequence[str] = (),
    ) -> Trial: ...


Judge = Callable[[Ledger], None]

LEDGERS = pytest.StashKey[dict[tuple[str, str], Ledger]]()


@pytest.fixture(params=["at-least-once", "exactly-once"])
def delivery(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start_trial(
    kafka: Kafka, triton: Triton, topics: Topics, tmp_path: Path, delivery: str
) -> Iterator[StartTrial]:
    sessions = (kafka.bootstrap, triton.grpc, topics)
    with kept_running(triton), ExitStack() as running:

        def start(
            kafka: str = "",
            triton: str = "",
            topics: Topics | None = None,
            *,
            brokers: str | None = None,
            rate: float = RATE,
            encoding: Encoding = Encoding.RAW,
            references: Sequence[str] = (),
        ) -> Trial:
            servers = (kafka or sessions[0], triton or sessions[1], topics or sessions[2])
            trial = Trial(
                *servers,
                tmp_path,
                delivery,
                brokers=brokers,
                rate=rate,
                encoding=encoding,
                references=references,
            )
            return running.enter_context(trial)

        yield start


@pytest.fixture
def judge(request: pytest.FixtureRequest, delivery: str) -> Judge:
    """The promise of each delivery mode; notes the ledger for the table."""
    name = request.node.originalname.removeprefix("test_").replace("_", " ")
    variant = [v for k, v in request.node.callspec.params.items() if k != "delivery"]
    fault = ", ".join((name, *variant))

    def decide(ledger: Ledger) -> None:
        ledgers = request.config.stash.setdefault(LEDGERS, {})
        ledgers[fault, delivery] = ledger
        assert (ledger.lost, ledger.strange) == (0, 0), ledger
        assert ledger.answered + ledger.dead == ledger.sent
        if delivery == "exactly-once":
            assert ledger.doubled == 0, ledger

    return decide


HEAD = [
    "| fault | delivery | sent | answered | dead-lettered | lost | doubled |",
    "|---|---|--:|--:|--:|--:|--:|",
]


def row_of(trial: tuple[str, str], one: Ledger) -> str:
    """The Markdown row of a fault and delivery mode."""
    counts = (one.sent, one.answered, one.dead, one.lost, one.doubled)
    return f"| {' | '.join((*trial, *(f'{count:,}' for count in counts)))} |"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    ledgers = config.stash.get(LEDGERS, {})
    if not ledgers:
        return
    terminalreporter.section("every image accounted for")
    rows = {trial: row_of(trial, one) for trial, one in ledgers.items()}
    terminalreporter.write("\n".join([*HEAD, *rows.values()]) + "\n")
    if path := os.environ.get("FAULT_TABLE"):
        put_rows(Path(path), rows)


def put_rows(page: Path, rows: dict[tuple[str, str], str]) -> None:
    """Renew these rows of the table between the page's `<!-- faults -->` marks; the others stay."""
    before, mark, rest = page.read_text().partition("<!-- faults -->\n")
    old, end, after = rest.partition("<!-- /faults -->\n")
    assert mark, f"{page} has no <!-- faults --> mark"
    assert end, f"{page} has no <!-- /faults --> mark"
    kept = {}
    for line in old.splitlines()[len(HEAD) :]:
        fault, delivery, *_ = (cell.strip() for cell in line.strip("|").split(" | "))
        kept[fault, delivery] = line
    table = "\n".join([*HEAD, *(kept | rows).values()])
    page.write_text(f"{before}{mark}{table}\n{end}{after}")
