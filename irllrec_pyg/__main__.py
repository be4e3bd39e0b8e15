"""``python -m irllrec_pyg`` is the command ``irllrec``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
