"""Items that are like an item, or users that are like a user, as the model sees them.

irllrec similar runs/shop --item 00042 --k 5
irllrec similar runs/shop --user ann
"""

import argparse

from .arguments import add_filters, add_out, add_run, check_out, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--item", nargs="+", metavar="ID", help="items that others are compared with")
    what.add_argument("--user", nargs="+", metavar="ID", help="users that others are compared with")
    parser.add_argument(
        "--k", type=positive, default=10, help="how many of each (default: %(default)s)"
    )
    add_filters(parser)
    add_out(parser)


def run(args: argparse.Namespace) -> int:
    """Prints or writes what is similar."""
    check_out(args.out)
    from .common import filters_of, ids_of, load, show, with_titles

    ranker = load(args.run_folder)
    side = "item" if args.item else "user"
    asked = ids_of(ranker, side, args.item or args.user)
    filters = filters_of(args, ranker)
    table = ranker.similar(**{side: asked}, k=args.k, filters=filters)
    show(with_titles(table, ranker, "id") if side == "item" else table, args.out)
    return 0
