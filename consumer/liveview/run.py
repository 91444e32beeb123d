"""The live view from a checkout: the same as `tkb watch`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])
from cli.main import run

if __name__ == "__main__":
    run("watch", "python consumer/liveview/run.py")
