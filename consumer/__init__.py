"""The consumer: matches predictions to images and measures what users care about, the latency."""
