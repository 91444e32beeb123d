"""The rules of an image: what is accepted, and how it becomes pixels. No Kafka, no Triton."""
