"""The consumer: matches predictions to images and measures the latency, which users care about."""
