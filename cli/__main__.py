"""`python cli COMMAND`, the program `tkb` of a checkout that is not installed."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
from cli.main import main

if __name__ == "__main__":
    main()
