"""Lists of items for users, or for people whom the model has never seen.

    irllrec recommend runs/shop --user ann 007
    irllrec recommend runs/shop --all --k 10 --out lists.parquet
    irllrec recommend runs/shop --history 00042,00107 --where "price < 20 and in_stock == True"
    irllrec recommend runs/shop --user ann --new arrivals.csv --item isbn --with-data
    irllrec recommend runs/shop --all --max-per author=2 --diversity 0.3 --out - | head

The folder is all that is needed: neither data nor texts. What the data set knows of a user is left
out of the list; a list is shorter where nothing else is left. Where some of --user are unknown, the
others get their lists, the unknown are named on the error output, and the exit status is 3.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import ConfigError
from .arguments import (
    add_data_of_run,
    add_filters,
    add_history,
    add_out,
    add_run,
    add_threads,
    check_history,
    check_out,
    positive,
)

if TYPE_CHECKING:
    from ..ranking import Ranker

BLOCK = 1024  # users whose lists are made before the bar moves
INCOMPLETE = 3  # exit status where some got no list
NAMED = 5  # unknown users that are named one by one
MEND = "Whom the model does not know gets a list by what they have: --history ITEMS."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument(
        "--user", nargs="+", metavar="ID", help="of users of the data set; unknown ones are named"
    )
    who.add_argument("--all", action="store_true", help="every user of the data set")
    add_history(parser, who)
    parser.add_argument(
        "--k", type=positive, default=20, help="length of the lists (default: %(default)s)"
    )
    parser.add_argument(
        "--exclude",
        choices=["known", "train", "none"],
        default="known",
        help="what is left out: all that the data set knows of a user, the training interactions, "
        "or nothing (default: %(default)s)",
    )
    add_filters(parser)
    parser.add_argument(
        "--new",
        metavar="FILE",
        type=Path,
        help="table of items that the model does not know, as items.csv: they are listed by their "
        "texts; with --with-data",
    )
    parser.add_argument(
        "--item",
        metavar="COLUMN",
        help="of --new, with the items' ids (default: as in the file that 'irllrec data convert' "
        "made the data set of, else item)",
    )
    add_data_of_run(parser, "for --new")
    add_out(parser)
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    """Prints or writes the lists."""
    check_out(args.out)
    check_history(args)
    if args.item and not args.new:
        raise ConfigError("--item belongs to --new; 'irllrec explain' is about one item.")
    import pandas as pd
    from tqdm import tqdm

    from .common import (
        filters_of,
        history_of,
        known_ids,
        limit_threads,
        load,
        show,
        unknown_id,
        with_titles,
    )

    limit_threads(args)
    ranker = load(args.run_folder, args)
    if args.new:
        _add_new(args, ranker)
    filters = filters_of(args, ranker)
    exclude = None if args.exclude == "none" else args.exclude
    unknown: list[str] = []
    if args.history:
        history, weights = history_of(args, ranker)
        table = ranker.recommend(
            k=args.k, exclude=exclude, history=history, weights=weights, filters=filters
        )
        table = table.drop(columns="user")
    else:
        if args.all:
            users = everyone(ranker)
        else:
            users, unknown = known_ids(ranker, "user", args.user)
        if not users:
            raise ConfigError(
                f"{unknown_id(ranker, 'user', unknown[0])} {MEND}"
                if unknown
                else "--user must be ids of users, got none."
            )
        blocks = [users[at : at + BLOCK] for at in range(0, len(users), BLOCK)]
        bar = tqdm(blocks, unit="block of users", disable=len(blocks) < 2)
        table = pd.concat(
            ranker.recommend(block, args.k, exclude, filters=filters) for block in bar
        )
    show(with_titles(table, ranker), args.out)
    for text in unknown[:NAMED]:
        print(f"irllrec recommend: {unknown_id(ranker, 'user', text)}", file=sys.stderr)
    if unknown:
        more = f" {len(unknown) - NAMED} more are unknown." if len(unknown) > NAMED else ""
        print(f"irllrec recommend: no list for {len(unknown)}.{more} {MEND}", file=sys.stderr)
    return INCOMPLETE if unknown else 0


def _add_new(args: argparse.Namespace, ranker: "Ranker") -> None:
    """Adds the items of ``--new``, with their columns."""
    from ..datasets.convert import item_column
    from ..datasets.table import TableDataset
    from ..datasets.tables import read_table
    from ..ranking.item_table import typed, with_rows

    if not isinstance(ranker.text_encoder, TableDataset):
        raise ConfigError("--new needs the encoder of the data set's texts: add --with-data.")
    table = read_table(args.new)
    column = args.item or item_column(Path(ranker.text_encoder.raw_dir), table)
    if column not in table:
        raise ConfigError(
            f"{args.new} has no column {column!r}; its columns are {', '.join(table.columns)}. "
            "Name that of the ids: --item COLUMN."
        )
    new = read_table(args.new, [column])  # none of them empty
    new = new.drop(columns={"item"} & {*new} - {column}).rename(columns={column: "item"})
    ranker.add_items(new)
    rows, known = new.set_index("item"), ranker.item_table
    ranker.item_table = (
        rows.apply(typed) if known is None else with_rows(known, rows.to_dict("index"))
    )


def everyone(ranker: "Ranker") -> list[int | str]:
    """The ids of all users."""
    return list(range(ranker.num_users) if ranker.user_ids is None else ranker.user_ids)
