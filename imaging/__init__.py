"""The rules of an image: what is accepted, and how it becomes pixels; without Kafka or Triton."""
