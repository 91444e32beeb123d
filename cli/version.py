"""The version of the project."""

import tomllib
from importlib.metadata import version as installed

from cli.paths import APP, CHECKOUT, ROOT


def version() -> str:
    """The version of this checkout, or else of the installed package."""
    if CHECKOUT:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        return str(project["version"])
    return installed(APP)
