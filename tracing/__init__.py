"""OpenTelemetry for producer, bridge and consumer; only `start` may be imported when it is off.

The other modules here import OpenTelemetry, which is an extra and slows down a start.
"""
