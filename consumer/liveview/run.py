"""The live view from a checkout: the same as `tkb watch`."""

import os
import sys

sys.path[0] = os.path.realpath(f"{__file__}/../../..")
from cli.main import run

if __name__ == "__main__":
    run("watch", "python consumer/liveview/run.py")
