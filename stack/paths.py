"""The folders of the stack's files: in a checkout, where git ignores them, or in the user's
folders. All of them may be deleted."""

from cli.paths import CACHE, CHECKOUT, ROOT, STATE

__all__ = ["CACHE", "ROOT", "SHOWN", "STACKS"]

STACKS = STATE
"""One folder for each named stack: data, logs, state."""
SHOWN = ".stack" if CHECKOUT else str(STACKS)
"""The name of the same folder in help texts."""
