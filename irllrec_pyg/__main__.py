"""``python -m irllrec_pyg`` is the command ``irllrec``."""

import sys

from .cli import main

sys.exit(main())
