"""The file that starts a bundle's program: `common/bundle.py` beside a copy of the modules."""

import sys
from pathlib import Path

from benchmarks.bundle.machine import main

if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[1]))
