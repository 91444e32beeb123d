"""The message contract: what an image, a prediction and a dead letter look like in Kafka.

The form is CloudEvents 1.0 in Kafka's binary mode. Nothing here does I/O or imports Kafka or
Triton.
"""
