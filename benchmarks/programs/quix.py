"""Quix Streams with the model inside its processing function."""

from quixstreams import Application

from benchmarks.programs.common import model_parser
from benchmarks.programs.in_process import Classifier


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument("--guarantee", default="at-least-once")
    options = parser.parse_args()
    classifier = Classifier(options.model, options.device)
    application = Application(
        broker_address=options.brokers,
        consumer_group=options.group,
        auto_offset_reset="earliest",
        processing_guarantee=options.guarantee,
        auto_create_topics=False,
        commit_interval=0.5,
    )
    source = application.topic(options.source, value_deserializer="bytes")
    target = application.topic(options.target, value_serializer="bytes")
    frame = application.dataframe(source)
    frame = frame.apply(lambda value: classifier.answers([value])[0])
    frame.to_topic(target)
    application.run()


if __name__ == "__main__":
    main()
