"""The demo from a checkout: the same as `tkb demo`."""

import os
import sys

sys.path[0] = os.path.realpath(f"{__file__}/../..")
from cli.main import run

if __name__ == "__main__":
    run("demo", "python scripts/demo.py")
