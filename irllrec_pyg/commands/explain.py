"""Why an item has its score for a user, or for a person who is given by a history.

    irllrec explain runs/shop --user ann --item 00042
    irllrec explain runs/shop --history 00001,00002 --item 00042 --k 10

Where a score is a sum over the items of a history, the parts add up to it; where it is not, the
sentence below the table says so.
"""

import argparse
from typing import TYPE_CHECKING

from ..config import ConfigError
from .arguments import (
    add_data_of_run,
    add_history,
    add_out,
    add_run,
    check_history,
    check_out,
    positive,
)

if TYPE_CHECKING:
    from ..ranking import Explanation, Ranker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", metavar="ID", help="a user of the data set")
    add_history(parser, who)
    parser.add_argument("--item", required=True, metavar="ID", help="the item to explain")
    parser.add_argument(
        "--k", type=positive, default=5, help="number of reasons (default: %(default)s)"
    )
    parser.add_argument(
        "--by",
        choices=["history", "intents", "parts", "words"],
        help="kind of reasons, of an ensemble those of its parts (default: first of intents, parts "
        "and history, and all others)",
    )
    add_data_of_run(parser, "for reasons by intents or words, which its texts are needed for")
    add_out(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the reasons, or writes their table."""
    check_out(args.out)
    check_history(args)
    import pandas as pd

    from .common import show, with_titles

    try:
        found, ranker = _explained(args)
    except NotImplementedError as error:
        hint = "" if args.with_data else " Some reasons need the data set: add --with-data."
        raise ConfigError(f"{error}{hint}") from None
    parts = found.every_part()
    if args.out is not None:
        tables = [one.table.assign(part=name) for name, one in {"": found, **parts}.items()]
        show(with_titles(pd.concat(tables), ranker), args.out)
        return 0
    _print(found, ranker)
    for name, part in parts.items():
        print(f"\n{name}")
        _print(part, ranker)
    return 0


def _explained(args: argparse.Namespace) -> "tuple[Explanation, Ranker]":
    from .common import history_of, ids_of, load

    ranker = load(args.run_folder, args)
    (item,) = ids_of(ranker, "item", [args.item])
    if args.history:
        history, weights = history_of(args, ranker)
        found = ranker.explain(item=item, k=args.k, history=history, weights=weights, by=args.by)
    else:
        (user,) = ids_of(ranker, "user", [args.user])
        found = ranker.explain(user, item, args.k, by=args.by)
    return found, ranker


def _print(found: "Explanation", ranker: "Ranker") -> None:
    from .common import show, with_titles

    table = found.table
    if len(table):
        show(with_titles(table.assign(item=table["item"].fillna("")), ranker), None)
    print(found)
