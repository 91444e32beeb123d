"""The exporter from a checkout: the same as `tkb export`."""

import os
import sys

sys.path[0] = os.path.realpath(f"{__file__}/../..")
from cli.main import run

if __name__ == "__main__":
    run("export", "python scripts/export_model.py")
