"""The producer from a checkout: the same as `tkb produce`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
from cli.main import run

if __name__ == "__main__":
    run("produce", "python producer/run.py")
