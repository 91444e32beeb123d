"""The folders of the project's files, in a checkout or installed; state is kept for each user."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The folder that contains the packages."""
CHECKOUT = (ROOT / "pyproject.toml").is_file()
DATA = ROOT / "data" if CHECKOUT else Path(__file__).with_name("data")
"""The images and the weights that come with the project."""
APP = "triton-kafka-bridge"


def _user_folder(variable: str, fallback: str) -> Path:
    """A user folder by the XDG Base Directory Specification, which ignores paths that are
    relative."""
    given = Path(os.environ.get(variable, ""))
    return (given if given.is_absolute() else Path.home() / fallback) / APP


CACHE = ROOT / ".cache" if CHECKOUT else _user_folder("XDG_CACHE_HOME", ".cache")
"""The folder for downloaded files; it may be deleted."""
STATE = ROOT / ".stack" if CHECKOUT else _user_folder("XDG_STATE_HOME", ".local/state")
"""The folder for what runs leave: data, logs, models of the local stack. It may be deleted when no
stack runs."""
