"""Prints the bridge's settings as a Markdown table, for README.md: every one, from the class."""

import json
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from bridge.config import Settings


def table() -> str:
    """One row a setting: flag, environment variable, default, meaning."""
    lines = ["| flag | environment | default | |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if default is PydanticUndefined or default is None or isinstance(default, SecretStr):
            shown = ""
        else:
            shown = f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"
        shown = "" if shown == "``" else shown
        flag = f"`--{name.replace('_', '-')}`"
        lines.append(f"| {flag} | `BRIDGE_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
