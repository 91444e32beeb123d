"""The producer from a checkout: the same as `tkb produce`."""

import os
import sys

sys.path[0] = os.path.realpath(f"{__file__}/../..")
from cli.main import run

if __name__ == "__main__":
    run("produce", "python producer/run.py")
