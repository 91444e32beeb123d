"""Which version this is."""

import tomllib
from importlib.metadata import version as installed

from cli.paths import APP, CHECKOUT, ROOT


def version() -> str:
    """The version of this checkout, else of what is installed."""
    if CHECKOUT:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        return str(project["version"])
    return installed(APP)
