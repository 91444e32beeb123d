"""The variables of every role, from defaults and argument_specs, as docs/provisioning.md has them.

Write the tables anew: .venv-ansible/bin/python -m tests.ansible.variables
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.ansible.lab.playbook import ROOT

ROLES = ROOT / "ansible" / "roles"
PAGE = ROOT / "docs" / "provisioning.md"
BEGIN, END = "<!-- variables of the roles -->\n", "<!-- end -->\n"
# Longer defaults, and those worked out from facts or other variables, are read in the role.
SHOWN = 60


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text()) if path.exists() else {}
    return found or {}


def defaults(role: str) -> dict[str, Any]:
    return read(ROLES / role / "defaults/main.yml")


def options(role: str) -> dict[str, dict[str, Any]]:
    """Every option of every entry point."""
    entries = read(ROLES / role / "meta/argument_specs.yml")["argument_specs"].values()
    return {name: option for entry in entries for name, option in entry.get("options", {}).items()}


def roles() -> list[str]:
    return sorted(path.name for path in ROLES.iterdir())


def shown(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value)
    return f"`{text}`" if "{{" not in text and len(text) <= SHOWN else "worked out; see the role"


def table() -> str:
    lines = []
    for role in roles():
        spec = options(role)
        lines += [f"**{role}**", "", "| variable | default | |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {shown(value)} | {spec[name]['description']} |"
            for name, value in defaults(role).items()
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n\n"


def with_table(page: str) -> str:
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n{table()}{END}", page)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
