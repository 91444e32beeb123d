"""What the bridge reads of the statistics of Kafka's client."""

from typing import NamedTuple

import orjson


class Statistics(NamedTuple):
    """What the bridge wants of librdkafka's statistics.

    Attributes:
        ends: the offset at which this consumer finds nothing more, by (topic, partition): the last
            stable offset, or the high watermark for one that reads what is not committed, too.
    """

    brokers_up: int
    ends: dict[tuple[str, int], int]


def read_statistics(text: str, *, committed: bool = True) -> Statistics:
    """Read the JSON that librdkafka hands to `stats_cb`.

    Args:
        committed: whether the consumer reads committed records alone.
    """
    body = orjson.loads(text)
    brokers = body.get("brokers", {}).values()
    end = "ls_offset" if committed else "hi_offset"
    ends = {
        (topic, one["partition"]): one[end]
        for topic, of_topic in body.get("topics", {}).items()
        for one in of_topic.get("partitions", {}).values()
        if one.get(end, -1) >= 0
    }
    return Statistics(sum(one.get("state") == "UP" for one in brokers), ends)
