"""OpenTelemetry, as producer, bridge and consumer share it; `start` alone may be imported when off.

The other modules here import OpenTelemetry, which is an extra and costs a start its time.
"""
