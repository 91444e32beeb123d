"""`tkb demo`: the shipped images through a real Kafka and a real Triton."""
