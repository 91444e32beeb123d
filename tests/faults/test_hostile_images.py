"""Images that do harm, beside good ones, where whatever stops is started again."""

import io
import random
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from producer.encoding import Encoding
from stack.bridge import Bridge
from stack.kafka import Kafka
from stack.topics import create_topics
from stack.triton import Triton
from tests.conftest import PARTITIONS, Topics
from tests.faults.conftest import Judge, StartTrial
from tests.faults.trial import Trial, answered, kept_running
from tests.kafka_client import collect
from tests.mortal import MODEL, POISON, starts, write_model
from tests.waiting import eventually
from wire.deadletter import OMITTED, decode_dead_letter
from wire.image import NDARRAY, encode_image, image_id
from wire.record import Outgoing

pytestmark = pytest.mark.soak

STARTS = 5
BAD = 1200
LETTERS_A_START = 10
"""Before the first answer of a process; `bridge.fuse.FIRST`."""
BOMBS = 3
BOMB_EVERY_S = 60.0
CULPRITS = 2
LIMIT = 100_000
"""Bytes of a record that the topic of the letters takes."""


def image(name: str, value: bytes, content_type: str) -> Outgoing:
    now = time.time_ns()
    raw = content_type == NDARRAY
    return encode_image(
        id=name, value=value, content_type=content_type, source="faults", intended_ns=now,
        sent_ns=now, dtype="uint8" if raw else None, shape=(32, 32, 3) if raw else None,
    )  # fmt: skip


def blown(bridge: Bridge) -> bool:
    try:
        return bridge.metrics().get("bridge_fuse_blown") == 1
    except OSError:  # it does not listen yet
        return False


def dead_lettered(trial: Trial) -> float:
    """Dead letters of all bridges of the trial, since each was last started."""
    return sum(
        value
        for bridge in trial.bridges.values()
        for name, value in bridge.metrics().items()
        if name.startswith("bridge_images_dead_lettered_total")
    )


def test_wrong_deployment_restarted_five_times_then_put_right(
    start_trial: StartTrial, judge: Judge
) -> None:
    """A limit that no image meets: each start costs a few letters, and none of them twice."""
    trial = start_trial(rate=1)
    early = [f"early-{number}" for number in range(BAD)]
    trial.load.send({name: image(name, bytes(3072), NDARRAY) for name in early})
    for _ in range(STARTS):
        bridge = trial.launch("wrong", max_image_bytes="100")
        eventually(lambda b=bridge: blown(b), "the fuse blowing")  # type: ignore[misc]
        assert bridge.health("ready") == 503
        assert bridge.health("live") == 200, "a restart policy must not start it again and again"
        assert "in a row" in bridge.reasons()["fuse"]
        bridge.stop()
    right = trial.bridge("right")
    trial.flowing(right)
    ledger = trial.settle()
    judge(ledger)
    assert ledger.doubled == 0
    assert ledger.dead <= STARTS * LETTERS_A_START


def test_image_that_kills_triton_which_is_started_again(
    start_trial: StartTrial, judge: Judge, tmp_path: Path
) -> None:
    write_model(tmp_path / "models")
    with Triton(tmp_path / "models", tmp_path / "mortal") as triton, kept_running(triton):
        trial = start_trial(triton=triton.grpc)
        bridge = trial.bridge(model=MODEL, max_attempts="2")
        for number in range(CULPRITS):
            trial.flowing(bridge)
            trial.load.send({f"culprit-{number}": image(f"culprit-{number}", POISON, NDARRAY)})
            eventually(lambda n=number: dead_lettered(trial) > n, "a dead letter", 180)  # type: ignore[misc]
        trial.flowing(bridge)
        ledger = trial.settle()
    judge(ledger)
    assert ledger.dead == CULPRITS


def test_image_that_kills_one_of_three_tritons(
    start_trial: StartTrial, judge: Judge, tmp_path: Path
) -> None:
    """At most one of them goes down for it more than once, and the others go on."""
    with ExitStack() as running:
        folders = [tmp_path / f"models-{number}" for number in range(3)]
        servers = []
        for folder in folders:
            write_model(folder)
            server = Triton(folder, tmp_path / f"server-{folder.name}")
            running.callback(server.stop)
            server.launch()
            servers.append(server)
        for server in servers:
            server.wait_ready()
            running.enter_context(kept_running(server))
        trial = start_trial(triton=",".join(server.grpc for server in servers))
        bridge = trial.bridge(model=MODEL, max_attempts="2")
        for server in servers:
            name = f'bridge_triton_up{{server="{server.grpc}"}}'
            eventually(lambda n=name: bridge.metrics().get(n) == 1, name)  # type: ignore[misc]
        trial.flowing(bridge)
        before = answered(bridge)
        trial.load.send({"culprit": image("culprit", POISON, NDARRAY)})
        eventually(lambda: dead_lettered(trial) == 1, "the dead letter", 180)
        assert answered(bridge) > before
        went = sorted(starts(folder) - 1 for folder in folders)
        ledger = trial.settle()
    judge(ledger)
    assert ledger.dead == 1
    assert went[0] == 0
    assert went[1] <= 1
    assert went[2] >= 1


def bomb(*, scans: bool) -> bytes:
    """A small file that takes long to decode: as large as may be, or with scans past the limit."""
    picture = Image.linear_gradient("L").resize((7000, 7000))
    file = io.BytesIO()
    Image.merge("RGB", (picture,) * 3).save(file, "JPEG", progressive=True, quality=30)
    value = file.getvalue()
    last = value.rindex(b"\xff\xda")
    return value[:-2] + value[last:-2] * (60 if scans else 8) + value[-2:]


def test_decode_bomb_a_minute_beside_good_images(start_trial: StartTrial, judge: Judge) -> None:
    bombs = [bomb(scans=False), bomb(scans=True)]
    trial = start_trial(rate=100, encoding=Encoding.PNG)
    bridge = trial.bridge(decoders="1")
    trial.flowing(bridge)
    for number in range(BOMBS):
        due = time.monotonic() + BOMB_EVERY_S
        trial.load.send(
            {
                f"bomb-{number}-{kind}": image(f"bomb-{number}-{kind}", value, "image/jpeg")
                for kind, value in enumerate(bombs)
            }
        )
        while time.monotonic() < due:
            trial.flowing(bridge, 50)  # the only decoder is held up, and another takes its place
    ledger = trial.settle()
    judge(ledger)
    assert ledger.dead >= BOMBS


def test_letters_that_are_too_large_for_their_topic(
    start_trial: StartTrial, judge: Judge, kafka: Kafka, topics: Topics
) -> None:
    """They lose their images; those of small ones beside them, which have no key, lose nothing."""
    pick = random.Random(23)  # noqa: S311 - no secret
    small = replace(topics, dead_letters=f"{topics.dead_letters}.small")
    create_topics(
        kafka.bootstrap, {small.dead_letters: PARTITIONS}, {"max.message.bytes": str(LIMIT)}
    )
    trial = start_trial(topics=small)
    bridge = trial.bridge(fuse_consecutive="0", fuse_ratio="0")
    trial.flowing(bridge)
    values: dict[str, bytes] = {}
    for number in range(40):
        name = f"bad-{number}"
        large = number % 10 == 0
        values[name] = pick.randbytes(2 * LIMIT if large else 100)
        record = image(name, values[name], "application/octet-stream")
        trial.load.send({name: record._replace(key=None)})
    trial.flowing(bridge)
    ledger = trial.settle()
    judge(ledger)
    assert ledger.dead == len(values)
    letters = collect(
        kafka.bootstrap, [small.dead_letters], lambda found: len(found) >= len(values)
    )
    for letter in letters:
        name = image_id(letter)
        assert decode_dead_letter(letter).error_class == "not_an_image"
        stripped = OMITTED in dict(letter.headers() or ())
        assert stripped == (len(values[name]) > LIMIT)
        assert stripped or letter.value() == values[name]
