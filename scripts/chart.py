"""Write what the chart takes from the code: in its values' schema, the bridge's settings."""

import json
from pathlib import Path
from typing import Any

from bridge.config import Settings

CHART = Path(__file__).resolve().parents[1] / "deploy" / "helm" / "triton-kafka"
SCHEMA = CHART / "values.schema.json"

OWNED = frozenset(
    {
        "config", "brokers", "images_topic", "predictions_topic", "dead_letters_topic", "triton",
        "model", "transactional_id", "http_host", "http_port", "kafka_password",
    }
)  # fmt: skip
"""Settings that the chart sets itself, from values of its own or of the pod."""


def settings_schema() -> dict[str, Any]:
    """JSON schema of `bridge.settings`: each setting under its own name, as in the TOML file."""
    properties = {
        name: _plain(schema)
        for name, schema in Settings.model_json_schema()["properties"].items()
        if name not in OWNED
    }
    # A mean and a spread for each channel, say, may be lists; the bridge joins them.
    parts = {"type": ["string", "number"]}
    value = {
        "anyOf": [{"type": ["string", "number", "boolean"]}, {"type": "array", "items": parts}]
    }
    properties["model_parameters"]["additionalProperties"] = value
    return {
        "description": "Settings of the bridge by their own names: docs/configuration.md.",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing to whoever writes values."""
    left = {name: value for name, value in schema.items() if name not in ("default", "title")}
    # What may be left unset, such as a path: it is left out, never null.
    options = [one for one in left.pop("anyOf", []) if one.get("type") != "null"]
    for option in options[:1]:
        left |= {name: value for name, value in option.items() if name != "format"}
    return left


def render() -> str:
    schema = json.loads(SCHEMA.read_text())
    schema["$defs"] = {"settings": settings_schema()}
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(render())
