"""Three brokers lose one of them and nothing else."""

from pathlib import Path

import pytest

from stack.cluster import KafkaCluster
from stack.topics import create_topics
from tests.stack.test_kafka import consume, produce

pytestmark = pytest.mark.slow


def test_a_lost_broker_loses_no_record(tmp_path: Path) -> None:
    with KafkaCluster(tmp_path) as cluster:
        create_topics(cluster.bootstrap, {"images": 3}, replication_factor=3)
        produce(cluster.bootstrap, "images", *(b"%d" % i for i in range(30)))
        cluster.brokers[1].kill()
        produce(cluster.bootstrap, "images", *(b"%d" % i for i in range(30, 60)))
        values = consume(cluster.bootstrap, "images", 60)
        assert sorted(map(int, values)) == list(range(60))
