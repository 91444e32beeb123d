"""`python cli COMMAND`, the program `tkb` of a checkout that is not installed."""

import os
import sys

sys.path[0] = os.path.realpath(f"{__file__}/../..")
from cli.main import main

if __name__ == "__main__":
    main()
