"""Writes docs/asyncapi.yaml and docs/prediction.schema.json: the contract, from the code."""

import json
from pathlib import Path
from typing import Any

from wire.schema import asyncapi, prediction_schema

DOCS = Path(__file__).resolve().parents[1] / "docs"
VERSION = "2.0.0"
"""Of the contract, whose major number is that of the newest `ce_type`."""

HEAD = "# Written by scripts/contract.py from wire/: change that, not this file.\n"


def pages() -> dict[Path, str]:
    """What each of the files holds."""
    return {
        DOCS / "asyncapi.yaml": HEAD + "\n".join(yaml_lines(asyncapi(VERSION))) + "\n",
        DOCS / "prediction.schema.json": json.dumps(prediction_schema(), indent=2) + "\n",
    }


def yaml_lines(value: Any, indent: str = "") -> list[str]:
    """JSON values as YAML in block style; what is empty or a scalar is YAML as JSON writes it."""
    lines = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in items:
        mark = f"{_key(str(key))}:" if isinstance(value, dict) else "-"
        if isinstance(one, dict | list) and one:
            lines += [f"{indent}{mark}", *yaml_lines(one, f"{indent}  ")]
        else:
            lines.append(f"{indent}{mark} {json.dumps(one)}")
    return lines


def _key(key: str) -> str:
    return key if key.replace("_", "").replace(".", "").isalnum() else json.dumps(key)


def main() -> None:
    for path, text in pages().items():
        path.write_text(text)
        print(path)


if __name__ == "__main__":
    main()
