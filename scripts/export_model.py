"""The exporter from a checkout: the same as `tkb export`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
from cli.main import run

if __name__ == "__main__":
    run("export", "python scripts/export_model.py")
