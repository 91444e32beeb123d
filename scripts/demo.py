"""The demo from a checkout: the same as `tkb demo`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
from cli.main import run

if __name__ == "__main__":
    run("demo", "python scripts/demo.py")
