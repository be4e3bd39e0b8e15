"""Lists of items for users, or for people whom the model has never seen.

    irllrec recommend runs/shop --user ann 007
    irllrec recommend runs/shop --all --k 10 --out lists.parquet
    irllrec recommend runs/shop --history 00042,00107 --where "price < 20 and in_stock == True"
    irllrec recommend runs/shop --user ann --new arrivals.csv --with-data
    irllrec recommend runs/shop --all --max-per author=2 --diversity 0.3 --out - | head

The folder is all that is needed: neither data nor texts. What the data set knows of a user is left
out of the list; a list is shorter where nothing else is left.
"""

import argparse
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ..config import ConfigError
from ..datasets.tables import read_table
from ..ranking import Ranker
from ..ranking.item_table import typed
from .common import (
    add_data_of_run,
    add_filters,
    add_history,
    add_out,
    add_run,
    add_threads,
    check_history,
    check_out,
    filters_of,
    history_of,
    ids_of,
    limit_threads,
    load,
    positive,
    show,
    with_titles,
)

BLOCK = 1024  # users whose lists are made before the bar moves


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", nargs="+", metavar="ID", help="of users of the data set")
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
    add_data_of_run(parser, "for --new")
    add_out(parser)
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    """Prints or writes the lists."""
    check_out(args.out)
    check_history(args)
    limit_threads(args)
    ranker = load(args.run_folder, args)
    if args.new:
        if ranker.text_encoder is None:
            raise ConfigError("--new needs the encoder of the data set's texts: add --with-data.")
        new = read_table(args.new, ["item"])
        ranker.add_items(new)
        ranker.item_table = pd.concat([ranker.item_table, new.set_index("item").apply(typed)])
    filters = filters_of(args, ranker)
    exclude = None if args.exclude == "none" else args.exclude
    if args.history:
        history, weights = history_of(args, ranker)
        table = ranker.recommend(
            k=args.k, exclude=exclude, history=history, weights=weights, filters=filters
        )
        table = table.drop(columns="user")
    else:
        users = everyone(ranker) if args.all else ids_of(ranker, "user", args.user)
        if not users:
            raise ConfigError("--user must be ids of users, got none.")
        blocks = [users[at : at + BLOCK] for at in range(0, len(users), BLOCK)]
        bar = tqdm(blocks, unit="block of users", disable=len(blocks) < 2)
        table = pd.concat(
            ranker.recommend(block, args.k, exclude, filters=filters) for block in bar
        )
    show(with_titles(table, ranker), args.out)
    return 0


def everyone(ranker: Ranker) -> list[int | str]:
    """The ids of all users."""
    return list(range(ranker.num_users) if ranker.user_ids is None else ranker.user_ids)
