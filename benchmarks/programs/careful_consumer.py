"""A careful in-process consumer: confluent-kafka, batches, torch in the same process.

At least once: offsets are committed after the answers before them are acknowledged.
"""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from benchmarks.programs.common import ASSIGNED, model_parser, producer_config
from benchmarks.programs.in_process import Classifier

COMMIT_S = 0.5
"""As the bridge."""
GATHER_S = 0.01
REBALANCED = (
    KafkaError._NO_OFFSET, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN_MEMBER_ID,
)  # fmt: skip


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    options = parser.parse_args()
    classifier = Classifier(options.model, options.device, options.threads)
    consumer = Consumer(
        {"bootstrap.servers": options.brokers, "group.id": options.group,
         "auto.offset.reset": "earliest", "enable.auto.commit": False,
         "partition.assignment.strategy": "cooperative-sticky"}
    )  # fmt: skip
    producer = Producer(producer_config(options.brokers))
    consumer.subscribe([options.source], on_assign=_assigned)
    commit_at, open_answers = time.monotonic() + COMMIT_S, False
    while True:
        messages = [m for m in consumer.consume(options.batch, GATHER_S) if m.error() is None]
        if messages:
            values = [value for m in messages if isinstance(value := m.value(), bytes)]
            for message, answer in zip(messages, classifier.answers(values), strict=True):
                producer.produce(options.target, answer, message.key())
            open_answers = True
        producer.poll(0)
        if open_answers and time.monotonic() > commit_at:
            producer.flush()
            try:
                consumer.commit(asynchronous=False)
            except KafkaException as error:  # its partitions went since
                if error.args[0].code() not in REBALANCED:
                    raise
            commit_at, open_answers = time.monotonic() + COMMIT_S, False


def _assigned(_consumer: Consumer, partitions: list[TopicPartition]) -> None:
    if partitions:
        print(ASSIGNED, flush=True)


if __name__ == "__main__":
    main()
