"""The consumer from a checkout: the same as `tkb measure`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
from cli.main import run

if __name__ == "__main__":
    run("measure", "python consumer/run.py")
