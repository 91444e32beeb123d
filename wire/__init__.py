"""The message contract: what an image, a prediction and a dead letter look like in Kafka.

CloudEvents 1.0 in Kafka's binary binding. Nothing here does I/O or knows Kafka, Triton or a codec.
"""
