"""Dead letters from a checkout: the same as `tkb dead-letters`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
from cli.main import run

if __name__ == "__main__":
    run("dead-letters", "python scripts/dead_letters.py")
