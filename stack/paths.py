"""Where the stack keeps its files: in a checkout, which git ignores them in, or in the user's
folders where it is installed; all of it may be deleted."""

from cli.paths import CACHE, CHECKOUT, ROOT, STATE

__all__ = ["CACHE", "ROOT", "SHOWN", "STACKS"]

STACKS = STATE
"""One folder for each named stack: data, logs, state."""
SHOWN = ".stack" if CHECKOUT else str(STACKS)
"""The same folder, as help texts name it."""
