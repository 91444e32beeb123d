"""Options that would undo a promise are refused; what librdkafka warns of is said."""

import logging

import orjson
import pytest
import structlog
from structlog.testing import capture_logs

from bridge.config import Settings
from bridge.kafka.clients import (
    KafkaLog,
    commit_metadata,
    make_consumer,
    make_producer,
    read_model,
)
from bridge.kafka.statistics import read_statistics
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
        {"retries": 0}, {"message.send.max.retries": 3},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("where", ["producer", "both"])
def test_a_producer_that_could_lose_an_answer_is_refused(where: str, option: Options) -> None:
    wanted = settings(producer=option) if where == "producer" else settings(both=option)
    (name,) = option
    with pytest.raises(KafkaSettingError, match=f"{name}=.* is refused: .*; leave it out"):
        make_producer(wanted, lambda _: None, lambda _: None, {})


@pytest.mark.parametrize("option", [{"acks": "all"}, {"acks": -1}, {"enable.idempotence": True}])
def test_a_promise_may_be_said_again(option: Options) -> None:
    make_producer(settings(producer=option), lambda _: None, lambda _: None, {})


@pytest.mark.parametrize(
    "name",
    [
        "enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store", "group.id",
        "enable.partition.eof", "bootstrap.servers", "metadata.broker.list", "transactional.id",
        "transaction.timeout.ms", "delivery.report.only.error",
    ],
)  # fmt: skip
def test_what_the_bridge_decides_cannot_be_set(name: str) -> None:
    with pytest.raises(KafkaSettingError, match=f"{name} is decided by the bridge"):
        consumer_of(settings({name: "true"}))


def test_reading_what_was_not_committed_is_refused_with_exactly_once_alone() -> None:
    option: Options = {"isolation.level": "read_uncommitted"}
    with pytest.raises(KafkaSettingError, match=r"isolation\.level=read_uncommitted is refused"):
        consumer_of(settings(option, delivery="exactly-once"))
    consumer_of(settings(option))


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
