"""Apache Kafka from the jars on Maven Central."""

from stack.kafka.broker import Kafka

__all__ = ["Kafka"]
