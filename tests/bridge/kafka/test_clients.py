"""Options that would undo a promise are refused; what librdkafka warns of is said."""

import logging
from pathlib import Path

import orjson
import pytest
import structlog
from structlog.testing import capture_logs

from bridge.app import App
from bridge.config import Settings
from bridge.kafka.client_log import KafkaLog
from bridge.kafka.clients import consumer_option, make_consumer, make_producer
from bridge.kafka.group import commit_metadata, read_model
from bridge.kafka.statistics import read_statistics
from bridge.loading import load
from cli.clients import KafkaSettingError

Options = dict[str, str | int | float | bool]


def settings(consumer: Options | None = None, producer: Options | None = None,
             delivery: str = "at-least-once", both: Options | None = None) -> Settings:  # fmt: skip
    return Settings.model_validate(
        {
            "brokers": "127.0.0.1:1",
            "delivery": delivery,
            "kafka": both or {},
            "kafka_consumer": consumer or {},
            "kafka_producer": producer or {},
        }
    )


def consumer_of(wanted: Settings) -> None:
    make_consumer(wanted, lambda _: None, lambda _: None, lambda *_: None).close()


@pytest.mark.parametrize(
    "option",
    [
        {"acks": 0}, {"acks": 1}, {"acks": "1"}, {"request.required.acks": 0},
        {"enable.idempotence": False}, {"enable.idempotence": "false"},
        {"message.timeout.ms": 30000}, {"delivery.timeout.ms": 30000},
        {"retries": 0}, {"message.send.max.retries": 3}, {"topic.message.timeout.ms": 30000},
        {"topic.acks": 0}, {"topic.request.required.acks": "1"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("where", ["producer", "both"])
def test_a_producer_that_could_lose_an_answer_is_refused(where: str, option: Options) -> None:
    wanted = settings(producer=option) if where == "producer" else settings(both=option)
    (name,) = option
    with pytest.raises(KafkaSettingError, match=f"{name}=.* is refused: .*; leave it out"):
        make_producer(wanted, lambda _: None, lambda _: None, {})


@pytest.mark.parametrize("where", ["kafka", "kafka_producer", "kafka_consumer"])
@pytest.mark.parametrize("how", ["flag", "environment", "file"])
def test_it_is_refused_however_it_is_said_and_before_anything_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str, how: str
) -> None:
    flags: dict[str, object] = {"http_port": 0}
    if how == "flag":
        flags[where] = {"acks": "0"}
    elif how == "environment":
        monkeypatch.setenv(f"BRIDGE_{where.upper()}", '{"acks": 0}')
    else:
        (tmp_path / "bridge.toml").write_text(f"[{where}]\nacks = 0\n")
        flags["config"] = str(tmp_path / "bridge.toml")
    with pytest.raises(KafkaSettingError, match="acks=0 is refused"):
        App(load(flags))


@pytest.mark.parametrize("option", [{"acks": "all"}, {"acks": -1}, {"enable.idempotence": True}])
def test_a_promise_may_be_said_again(option: Options) -> None:
    make_producer(settings(producer=option), lambda _: None, lambda _: None, {})


@pytest.mark.parametrize(
    "name",
    [
        "enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store", "group.id",
        "enable.partition.eof", "bootstrap.servers", "metadata.broker.list", "transactional.id",
        "transaction.timeout.ms", "delivery.report.only.error", "topic.auto.commit.enable",
        "test.mock.num.brokers", "enabled_events",
    ],
)  # fmt: skip
def test_what_the_bridge_decides_cannot_be_set(name: str) -> None:
    with pytest.raises(KafkaSettingError, match=f"{name} is decided by the bridge"):
        consumer_of(settings({name: "true"}))


@pytest.mark.parametrize(
    "name", ["error_cb", "stats_cb", "on_delivery", "on_commit", "logger", "default.topic.config"]
)
@pytest.mark.parametrize("where", ["consumer", "producer"])
def test_what_only_a_program_can_set_is_refused_in_one_line(where: str, name: str) -> None:
    option: Options = {name: "x"}
    wanted = settings(consumer=option) if where == "consumer" else settings(producer=option)

    def make() -> None:
        if where == "consumer":
            consumer_of(wanted)
        else:
            make_producer(wanted, lambda _: None, lambda _: None, {})

    with pytest.raises(KafkaSettingError, match=r"leave it out|refuses its settings") as refused:
        make()
    assert "\n" not in str(refused.value)


def test_an_option_counts_by_its_own_name() -> None:
    fast = "topic.metadata.refresh.fast.interval.ms"
    wanted = settings({"topic.auto.offset.reset": "error", fast: 100})
    assert consumer_option(wanted, "auto.offset.reset") == "error"
    consumer_of(wanted)


def test_reading_what_was_not_committed_is_refused_with_exactly_once_alone() -> None:
    option: Options = {"isolation.level": "read_uncommitted"}
    with pytest.raises(KafkaSettingError, match=r"isolation\.level=read_uncommitted is refused"):
        consumer_of(settings(option, delivery="exactly-once"))
    consumer_of(settings(option))


@pytest.mark.parametrize("name", ["auto.offset.reset", "topic.auto.offset.reset"])
@pytest.mark.parametrize("value", ["latest", "largest", "end", "LATEST"])
def test_a_reset_that_passes_images_over_is_refused(name: str, value: str) -> None:
    with pytest.raises(KafkaSettingError, match="--start latest"):
        consumer_of(settings({name: value}))
    consumer_of(settings({name: "earliest"}))


def test_the_group_protocol_in_which_the_broker_assigns_needs_no_other_option() -> None:
    consumer_of(settings({"group.protocol": "consumer"}))
    with pytest.raises(KafkaSettingError, match=r"partition\.assignment\.strategy"):
        consumer_of(
            settings({"group.protocol": "consumer", "partition.assignment.strategy": "range"})
        )


def test_a_committed_offset_says_its_model() -> None:
    assert read_model(commit_metadata("resnet50")) == "resnet50"
    assert read_model(None) is None
    assert read_model("of another program") is None


@pytest.mark.parametrize(("committed", "end"), [(True, 6), (False, 11)])
def test_the_end_is_that_of_what_this_consumer_can_read(committed: bool, end: int) -> None:
    partitions = {
        "0": {"partition": 0, "ls_offset": 6, "hi_offset": 11},
        "1": {"partition": 1, "ls_offset": -1, "hi_offset": -1},
    }
    text = {"brokers": {"1": {"state": "UP"}}, "topics": {"images": {"partitions": partitions}}}
    found = read_statistics(orjson.dumps(text).decode(), committed=committed)
    assert found.brokers_up == 1
    assert found.ends == {("images", 0): end}


def test_what_the_client_says_of_itself_is_that_of_its_slowest_broker() -> None:
    def broker(rtt_us: int, throttle_ms: int) -> dict[str, object]:
        window = {"rtt": {"avg": rtt_us}, "throttle": {"max": throttle_ms}}
        return {"state": "UP", "outbuf_cnt": 1, "waitresp_cnt": 2, **window}

    partition = {"partition": 0, "fetchq_cnt": 3, "fetchq_size": 300}
    found = read_statistics(
        orjson.dumps(
            {
                "msg_cnt": 7,
                "msg_size": 700,
                "brokers": {"1": broker(1500, 0), "2": broker(4000, 250), "coordinator": {}},
                "topics": {"images": {"partitions": {"0": partition, "1": {"partition": 1}}}},
            }
        ).decode()
    )
    assert (found.rtt_s, found.throttle_s) == (0.004, 0.25)
    assert (found.requests, found.records, found.record_bytes) == (6, 10, 1000)


def test_warnings_of_kafkas_client_are_warnings() -> None:
    taken = KafkaLog()
    with capture_logs() as events:
        structlog.get_logger()
        taken.log(logging.WARNING, "%s [%s] %s", "OFFSET", "bridge#consumer-1", "reset")
        taken.log(logging.INFO, "%s [%s] %s", "MEMBERID", "bridge#consumer-1", "new")
    assert [(one["log_level"], one["facility"], one["message"]) for one in events] == [
        ("warning", "OFFSET", "OFFSET [bridge#consumer-1] reset"),
        ("debug", "MEMBERID", "MEMBERID [bridge#consumer-1] new"),
    ]


def test_what_suits_transactions_gives_way_to_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs: list[dict[str, object]] = []
    monkeypatch.setattr(
        "bridge.kafka.clients.make_client", lambda _, config: configs.append(config)
    )
    asked: list[Options] = [
        {}, {"retry.backoff.ms": 50, "metadata.recovery.strategy": "rebootstrap"},
    ]  # fmt: skip
    for options in asked:
        for extra in ({}, {"transactional.id": "a"}):
            make_producer(settings(producer=options), lambda _: None, lambda _: None, extra)
    assert [one.get("retry.backoff.ms") for one in configs] == [None, 2, 50, 50]
    recovery = [one.get("metadata.recovery.strategy") for one in configs]
    assert recovery == [None, "none", "rebootstrap", "rebootstrap"]
