"""The bridge from a checkout: the same as `tkb bridge`."""

import os
import sys

sys.path[0] = os.path.realpath(f"{__file__}/../..")
from cli.main import run

if __name__ == "__main__":
    run("bridge", "python bridge/run.py")
