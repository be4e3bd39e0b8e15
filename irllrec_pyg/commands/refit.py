"""Train the model of a finished run again, on every interaction: what was held out for choosing
settings and for measuring is training now.

    irllrec refit runs/shop --out runs/shop-all
        the settings and weights, or the number of epochs, that were best on validation
    irllrec refit runs/shop --data data/shop --k-core 0 --out runs/tonight
        on the tables as they are now, also for users and items with few interactions

Nothing is searched, so each model is trained once; nothing is held out either, so there is nothing
to measure. Search again once in a while, when tables have changed much.
"""

import argparse
from pathlib import Path

from ..refit import refitted
from .arguments import add_run, add_threads
from .common import data_of, limit_threads
from .train import train

STOPPED = "the same command goes on from here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="the new run's, a folder a time"
    )
    parser.add_argument("--data", metavar="FOLDER", help="where the data set lies now")
    parser.add_argument(
        "--k-core",
        type=int,
        metavar="N",
        help="users and items with fewer interactions are left out; 0: nobody is, and items that "
        "nobody has touched are listed by their texts (default: as it was)",
    )
    add_threads(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Trains."""
    limit_threads(args)
    data = data_of(args.run_folder, args.data)
    if args.k_core is not None:
        data = data.replace(k_core=args.k_core)
    return train(refitted(args.run_folder, data), args.out, args.quiet)
