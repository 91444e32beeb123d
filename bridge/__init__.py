"""The bridge: images from Kafka to Triton in batches, predictions back to Kafka."""
