"""Look at, check and convert data sets.

irllrec data stats data/shop movie            sizes
irllrec data check data/shop                  everything that is wrong with a folder of tables
irllrec data convert orders.csv data/shop --user customer --item isbn --items books.csv
irllrec data convert data/shop data/clean --to tables        without rows that have no id
irllrec data convert data/shop data/published --to published
irllrec data convert data/published data/tables              and back; ids are kept
irllrec data cards                            where known data sets come from, and licences
"""

import argparse
import shlex
import warnings
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from torch_geometric.data import HeteroData

from ..config import ConfigError
from ..datasets import read_profiles, write_published
from ..datasets.cards import cards
from ..datasets.check import check_tables
from ..datasets.config import DataConfig
from ..datasets.convert import (
    PROFILE,
    LeftOut,
    clean_folder,
    clean_table,
    graph_tables,
    with_given_split,
    write_columns,
    write_table,
)
from ..datasets.formats import PROFILES
from ..datasets.table import TableDataset
from ..datasets.tables import find_table, read_table
from ..edges import EDGE_TYPE
from ..flags import TABLES, add_flags, given, run_settings
from .common import DATA_HELP, open_data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", help="what to do"
    )
    stats = actions.add_parser("stats", help="sizes, degrees, texts")
    stats.add_argument("data", nargs="+", metavar="FOLDER", help=DATA_HELP)
    check = actions.add_parser("check", help="every problem of a folder of tables, and its mend")
    check.add_argument("data", metavar="FOLDER", help="with interactions.csv and items.csv")
    check.add_argument(
        "--k-core",
        type=int,
        default=5,
        help="interactions that every user and item will have at least (default: %(default)s)",
    )
    convert = actions.add_parser("convert", help="tables to the published layout, and back")
    convert.add_argument(
        "source", metavar="SOURCE", help="a table of interactions, or a data set's folder"
    )
    convert.add_argument("folder", metavar="FOLDER", help="where the new one goes")
    convert.add_argument(
        "--to",
        choices=["tables", "published"],
        help="default: tables of a file and of the published layout, published of tables",
    )
    for name, default in (("user", "user"), ("item", "item"), ("time", None)):
        convert.add_argument(
            f"--{name}",
            default=default,
            metavar="COLUMN",
            help=f"of a file (default: {default or 'none'})",
        )
    convert.add_argument("--items", metavar="FILE", type=Path, help="table of the items")
    convert.add_argument(
        "--items-id",
        metavar="COLUMN",
        help="of the table of the items: their ids (default: called as --item, or 'item')",
    )
    known = run_settings()
    add_flags(
        convert.add_argument_group("how tables are split and embedded, for --to published"),
        {path: known[path] for path in TABLES.values()},
        TABLES,
    )
    one = actions.add_parser("cards", help="sizes, sources and licences of known data sets")
    one.add_argument("name", nargs="*", metavar="NAME", help="default: all")


def run(args: argparse.Namespace) -> int:
    """Runs the action."""
    actions = {"stats": _stats, "check": _check, "convert": _convert, "cards": _cards}
    return actions[args.action](args)


def _stats(args: argparse.Namespace) -> int:
    columns = {}
    for place in args.data:
        config = DataConfig.at(place, encoder=None) if _is_tables(place) else DataConfig.at(place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what is missing is in the table
            data, items = open_data(config)
        rates = data[EDGE_TYPE]
        train = rates.edge_index
        found: dict[str, Any] = {}
        for side, at in (("user", 0), ("item", 1)):
            count = torch.bincount(train[at], minlength=data[side].num_nodes).double()
            found[f"{side}s"] = f"{data[side].num_nodes:,}"
            found[f"training interactions by {side}"] = (
                f"{int(count.min())} to {int(count.max()):,}, median {count.median():g}"
            )
        found["training"] = f"{train.size(1):,}"
        found["validation"] = f"{rates.val_edge_label_index.size(1):,}"
        found["test"] = f"{rates.edge_label_index.size(1):,}"
        cells = data["user"].num_nodes * data["item"].num_nodes
        found["density of training"] = f"{train.size(1) / cells:.3%}"
        for field, width in (("x", "text vectors"), ("intent", "intent vectors")):
            if field in data["item"]:
                found[width] = f"{data['item'][field].size(1)} wide"
        if items is not None:
            found["columns of items"] = ", ".join(map(str, items.columns))
            texts = next((items[name] for name in ("text", "title") if name in items), None)
            if texts is not None:
                found["items with a text"] = f"{(texts != '').mean():.1%}"
                found["characters of a text"] = f"median {texts.str.len().median():g}"
        columns[config.name] = found
    print(pd.DataFrame(columns).fillna("–").to_string())
    return 0


def _is_tables(place: str) -> bool:
    return any(Path(place).glob("interactions.*"))


def _check(args: argparse.Namespace) -> int:
    problems = check_tables(args.data, args.k_core)
    for problem in problems:
        print(problem)
    fatal = sum(problem.fatal for problem in problems)
    if fatal:
        print(f"{args.data}: {fatal} must be mended, {len(problems) - fatal} more may matter.")
        return 2
    print(f"{args.data}: it can be read. Train: irllrec train --data {shlex.quote(args.data)}")
    return 0


def _convert(args: argparse.Namespace) -> int:
    source, out = Path(args.source), Path(args.folder)
    if not source.exists():
        raise ConfigError(f"There is no file or folder {source}.")
    if out.exists() and source.resolve() == out.resolve():
        raise ConfigError(f"{out} is the source itself; name another folder.")
    if source.is_file():
        if args.to == "published":
            raise ConfigError(f"Make tables of {source} first, without --to published.")
        lost = _from_file(args, source, out)
    elif _is_tables(args.source):
        if args.to == "tables":
            lost = clean_folder(source, out)
        else:
            lost = _to_published(args, source, out)
    elif args.to == "published":
        raise ConfigError(f"{source} is in the published layout already.")
    else:
        lost = _from_published(args, out)
    for name, left_out in lost.items():
        if any(left_out):
            print(f"{name}: left out {left_out}.")
    print(f"{out}: " + ", ".join(sorted(path.name for path in out.iterdir() if path.is_file())))
    return 0


def _from_file(args: argparse.Namespace, source: Path, out: Path) -> dict[str, LeftOut]:
    columns = {"user": args.user, "item": args.item}
    columns |= {} if args.time is None else {"time": args.time}
    table, lost = clean_table(source, columns)
    left_out = {str(source): lost}
    if args.items is not None:
        key = args.items_id
        if key is None:
            key = args.item if args.item in read_table(args.items) else "item"
        items, left_out[str(args.items)] = clean_table(
            args.items, {"item": key}, "item", "--items-id"
        )
        write_table(items, out / "items.csv")
    write_table(table, out / "interactions.csv")
    write_columns(out, columns if args.items_id is None else columns | {"item": args.items_id})
    return left_out


def _to_published(args: argparse.Namespace, source: Path, out: Path) -> dict[str, LeftOut]:
    settings = {path.removeprefix("data."): value for path, value in given(args).items()}
    path = find_table(source, "interactions")
    assert path is not None
    table = read_table(path, ["user", "item"])
    place = DataConfig.at(args.source, **settings)
    texts: list[str] = []
    if "split" in table and not settings:
        data = with_given_split(table, place.name)
        if find_table(source, "items") is not None:
            every = TableDataset(place.root, place.name, k_core=0, encoder=None)
            known = dict(zip(every.items["item"], every.texts, strict=True))
            texts = [known.get(value, "") for value in data["item"].raw_id]
    else:
        dataset = place.open()
        assert isinstance(dataset, TableDataset)
        data, texts = cast(HeteroData, dataset[0]), dataset.texts
    profiles = {at: {PROFILE: text, "reasoning": ""} for at, text in enumerate(texts) if text}
    write_published(data, out, ({}, profiles) if profiles else None)
    return {}


def _from_published(args: argparse.Namespace, out: Path) -> dict[str, LeftOut]:
    config = DataConfig.at(args.source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # embeddings are not written anyway
        dataset = config.open()
    raw = Path(dataset.raw_dir)
    profiles = {
        side: read_profiles(raw / name)
        for side, name in zip(("user", "item"), PROFILES, strict=True)
        if (raw / name).exists()
    }
    data = cast(HeteroData, dataset[0])
    for stem, table in graph_tables(data, profiles).items():
        write_table(table, out / f"{stem}.csv")
    if "x" in data["item"]:
        print("Embeddings stay behind: tables hold texts, which are embedded anew.")
    return {}


def _cards(args: argparse.Namespace) -> int:
    known = cards()
    for name in args.name or known:
        if name not in known:
            raise ConfigError(f"There is no card of {name!r}; there are {', '.join(known)}.")
        print(f"{name}: {known[name].describe()}\n")
    return 0
