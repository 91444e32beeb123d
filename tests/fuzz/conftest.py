"""The bridge that is fuzzed is started as in its own tests."""

from tests.bridge.conftest import start_bridge as start_bridge  # noqa: PLC0414 - a fixture
