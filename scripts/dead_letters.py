"""Dead letters from a checkout: the same as `tkb dead-letters`."""

import os
import sys

sys.path[0] = os.path.realpath(f"{__file__}/../..")
from cli.main import run

if __name__ == "__main__":
    run("dead-letters", "python scripts/dead_letters.py")
