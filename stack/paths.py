"""Where the stack keeps its files; all of it is ignored by git and may be deleted."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"
"""What was fetched."""
STACKS = ROOT / ".stack"
"""One folder for each named stack: data, logs, state."""
