"""The producer: replays a data set into Kafka at a chosen rate and reports the outcome."""
