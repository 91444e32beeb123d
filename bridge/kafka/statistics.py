"""Reads those of librdkafka's statistics that the bridge needs. Pure."""

from typing import NamedTuple

import orjson


class Statistics(NamedTuple):
    """The part of librdkafka's statistics that the bridge needs.

    Attributes:
        rtt_s: mean seconds from a request to its answer, of the slowest broker. A consumer's value
            says little: its brokers hold a request back while there is nothing to fetch.
        throttle_s: longest time in seconds for which a broker delayed an answer by its quotas.
        requests: requests that no broker has answered yet.
        records, record_bytes: in the client's queue: fetched and not taken, or not acknowledged.
        ends: offset at which this consumer finds nothing more, by (topic, partition): the last
            stable offset, or the high watermark if it also reads uncommitted records.
    """

    brokers_up: int
    rtt_s: float
    throttle_s: float
    requests: int
    records: int
    record_bytes: int
    ends: dict[tuple[str, int], int]


def read_statistics(text: str, *, committed: bool = True) -> Statistics:
    """Read the JSON that librdkafka hands to `stats_cb`.

    Args:
        committed: whether the consumer reads only committed records.
    """
    body = orjson.loads(text)
    brokers = body.get("brokers", {}).values()
    partitions = [
        (topic, one)
        for topic, of_topic in body.get("topics", {}).items()
        for one in of_topic.get("partitions", {}).values()
    ]
    end = "ls_offset" if committed else "hi_offset"
    # Both are aggregated over a window; their units are microseconds and milliseconds.
    rtt_us = max((one.get("rtt", {}).get("avg", 0) for one in brokers), default=0)
    throttle_ms = max((one.get("throttle", {}).get("max", 0) for one in brokers), default=0)
    return Statistics(
        brokers_up=sum(one.get("state") == "UP" for one in brokers),
        rtt_s=rtt_us / 1e6,
        throttle_s=throttle_ms / 1e3,
        requests=sum(one.get("outbuf_cnt", 0) + one.get("waitresp_cnt", 0) for one in brokers),
        records=body.get("msg_cnt", 0) + sum(one.get("fetchq_cnt", 0) for _, one in partitions),
        record_bytes=body.get("msg_size", 0)
        + sum(one.get("fetchq_size", 0) for _, one in partitions),
        ends={
            (topic, one["partition"]): one[end]
            for topic, one in partitions
            if one.get(end, -1) >= 0
        },
    )
