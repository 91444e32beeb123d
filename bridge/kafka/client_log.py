"""Puts the log lines of Kafka's own client into the bridge's log."""

import logging

import structlog

log = structlog.get_logger()


class KafkaLog:
    """Takes librdkafka's own log lines into the bridge's log."""

    def log(self, level: int, message: str, *arguments: object) -> None:
        """Called on any thread; `level` is one of the standard library's."""
        text = message % arguments if arguments else message
        facility = text.partition(" ")[0]  # "OFFSET [client] ...": from a fixed set
        # librdkafka also reports its errors through a callback: see `on_error`.
        told = level < logging.WARNING or facility in ("FAIL", "ERROR")
        tell = log.debug if told else log.warning
        tell("librdkafka", facility=facility, message=text[:500])
