"""The usual demo: a kafka-python loop, one image at a time through torch in the same process."""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from kafka import KafkaConsumer, KafkaProducer

from benchmarks.programs.in_process import Classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--model", type=Path, required=True, help="model.pt")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    classifier = Classifier(options.model, options.device)
    consumer = KafkaConsumer(
        options.source,
        bootstrap_servers=options.brokers,
        group_id=options.group,
        auto_offset_reset="earliest",
    )
    producer = KafkaProducer(bootstrap_servers=options.brokers)
    for message in consumer:
        producer.send(options.target, key=message.key, value=classifier.answers([message.value])[0])


if __name__ == "__main__":
    main()
