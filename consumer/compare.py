"""Two runs side by side, from a checkout: the same as `tkb compare`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
from cli.main import run

if __name__ == "__main__":
    run("compare", "python consumer/compare.py")
