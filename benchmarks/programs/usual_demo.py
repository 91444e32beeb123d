"""The usual demo: a kafka-python loop, one image at a time through torch in the same process."""

from kafka import KafkaConsumer, KafkaProducer

from benchmarks.programs.common import model_parser
from benchmarks.programs.in_process import Classifier


def main() -> None:
    options = model_parser(__doc__).parse_args()
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
