#!/usr/bin/env python3
"""Who gains what from texts, and where: ``irllrec study`` under another name.

python benchmarks/study.py --dataset books --root tables --model ease l3ae --out study
"""

import sys

from irllrec_pyg.cli import main

if __name__ == "__main__":
    sys.exit(main(["study", *sys.argv[1:]]))
