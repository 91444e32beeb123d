"""Where the project's files are: in a checkout, or installed, where state is kept for a user."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The folder that the packages are in."""
CHECKOUT = (ROOT / "pyproject.toml").is_file()
DATA = ROOT / "data" if CHECKOUT else Path(__file__).with_name("data")
"""The images and the weights that come with the project."""
APP = "triton-kafka-bridge"


def _user_folder(variable: str, fallback: str) -> Path:
    """As the XDG Base Directory Specification has it: a path that is not absolute is ignored."""
    given = Path(os.environ.get(variable, ""))
    return (given if given.is_absolute() else Path.home() / fallback) / APP


CACHE = ROOT / ".cache" if CHECKOUT else _user_folder("XDG_CACHE_HOME", ".cache")
"""The folder of what was fetched; it may be deleted."""
STATE = ROOT / ".stack" if CHECKOUT else _user_folder("XDG_STATE_HOME", ".local/state")
"""The folder of what runs leave: data, logs, models of the local stack. It may be deleted when none
runs."""
