"""The local stack without Docker: a real Kafka broker and a real Triton as child processes."""
