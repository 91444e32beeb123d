"""The Kafka side of the bridge: clients, assignment, offsets, and the two delivery guarantees."""
