"""What commands share: saved models, ids, tables in and out."""

import argparse
import sys
from collections.abc import Container, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pandas as pd
import torch
from torch_geometric.data import HeteroData

from ..config import ConfigError
from ..datasets.config import NAMES, DataConfig
from ..files import atomic_path
from ..model_folder import load_folder, read_config
from ..ranking import LIST_METRICS, USER_METRICS, Ranker
from .arguments import check_out, positive

if TYPE_CHECKING:
    from ..ranking.filters import Filters

DATA_HELP = (
    "folder of tables (interactions.csv, items.csv) or in the published layout, or one of "
    f"{', '.join(NAMES)}"
)


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """The arguments of an evaluation."""
    parser.add_argument(
        "--k",
        type=positive,
        nargs="+",
        default=[5, 10, 20],
        help="lengths of the ranked lists (default: 5 10 20)",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=[*USER_METRICS, *LIST_METRICS],
        default=["recall", "ndcg"],
        metavar="NAME",
        help=f"{', '.join([*USER_METRICS, *LIST_METRICS])} (default: recall ndcg)",
    )
    parser.add_argument(
        "--exclude-validation",
        action="store_true",
        help="at test, leave validation items out of the lists (not the papers' protocol)",
    )


def open_data(config: DataConfig) -> tuple[HeteroData, pd.DataFrame | None]:
    """The graph of a data set, and the table of its items where it has one."""
    dataset = config.open()
    return cast(HeteroData, dataset[0]), getattr(dataset, "items", None)


def limit_threads(args: argparse.Namespace) -> None:
    """Takes so many threads as the command says."""
    if args.threads:
        torch.set_num_threads(args.threads)


def ids_of(ranker: Ranker, side: str, texts: Iterable[str]) -> list[int | str]:
    """Ids as the model has them: text, or numbers where they are numbers.

    They stand apart or are separated by commas; an id that itself holds a comma stands apart.

    Raises:
        ConfigError: If one is unknown; it is named, with the nearest ones.
    """
    known, unknown = known_ids(ranker, side, texts)
    if unknown:
        raise ConfigError(unknown_id(ranker, side, unknown[0]))
    return known


def known_ids(ranker: Ranker, side: str, texts: Iterable[str]) -> tuple[list[int | str], list[str]]:
    """Ids as of :func:`ids_of`, and those that are unknown."""
    by_text = {str(value): value for value in ranker.ids(side)}
    asked = split_list(texts, by_text)
    known = [by_text[text] for text in asked if text in by_text]
    return known, [text for text in asked if text not in by_text]


def unknown_id(ranker: Ranker, side: str, text: str) -> str:
    """What is said of an id that a model does not have."""
    names = list(map(str, ranker.ids(side)))
    alike = [name for name in names if name.lstrip("0") == text.lstrip("0")][:1]
    hint = f"did you mean {alike[0]!r}?" if alike else f"there are {', '.join(names[:5])}, …"
    return f"Unknown {side} {text!r}; {hint}"


def data_of(folder: str, place: str | None) -> DataConfig:
    """The data set of a run, perhaps at another place."""
    config = read_config(Path(folder), lambda whole: DataConfig.read(whole.get("data")))
    if place is not None:
        other = DataConfig.at(place)
        return config.replace(name=other.name, root=other.root)
    if not Path(config.root, config.name).is_dir() and config.name not in NAMES:
        raise ConfigError(
            f"{folder} was trained on {Path(config.root, config.name)}, which is not there; say "
            "by --data where it lies now."
        )
    return config


def load(folder: str, args: argparse.Namespace | None = None) -> Ranker:
    """The model of a run, with its data set where the command says so."""
    if args is None or not (args.with_data or args.data):
        return load_folder(folder)
    return load_folder(folder, data_of(folder, args.data).open())


def filters_of(args: argparse.Namespace, ranker: Ranker) -> "Filters | None":
    """The rules of :func:`.arguments.add_filters`, or nothing."""
    from ..ranking.filters import Filters

    most = {}
    for text in args.max_per:
        column, _, number = text.rpartition("=")
        if not column or not number.isdigit():
            raise ConfigError(f"--max-per must be COLUMN=N, such as author=2, got {text!r}.")
        most[column] = int(number)
    ids = {
        name: ids_of(ranker, "item", texts)
        for name in ("allow", "deny")
        if (texts := getattr(args, name)) is not None
    }
    if ids.get("allow") == []:  # such as of a variable of the shell that is empty
        raise ConfigError("--allow must be ids of items, got none.")
    if not (any(ids.values()) or args.where or most or args.diversity):
        return None
    return Filters(**ids, where=args.where, max_per=most, diversity=args.diversity)


def history_of(
    args: argparse.Namespace, ranker: Ranker
) -> tuple[list[int | str], list[float] | None]:
    """The items of ``--history`` and their ``--weights``."""
    items = ids_of(ranker, "item", args.history)
    if args.weights is None:
        return items, None
    try:
        weights = [float(text) for text in split_list([args.weights])]
    except ValueError:
        raise ConfigError(f"--weights must be numbers, got {args.weights!r}.") from None
    if len(weights) != len(items):
        raise ConfigError(
            f"--weights must be one number for each of the {len(items)} items, got {len(weights)}."
        )
    return items, weights


def split_list(texts: Iterable[str], whole: Container[str] = ()) -> list[str]:
    """Values that stand apart or are separated by commas, but for those that are not divided."""
    parts = (part for text in texts for part in ([text] if text in whole else text.split(",")))
    return [part if part in whole else part.strip() for part in parts if part.strip()]


def with_titles(table: pd.DataFrame, ranker: Ranker, column: str = "item") -> pd.DataFrame:
    """A list with the titles of its items, where the model has a table of them."""
    items = ranker.item_table
    if items is None or "title" not in items or "title" in table:
        return table
    return table.assign(title=table[column].map(items["title"].to_dict()).fillna(""))


def show(table: pd.DataFrame, out: str | None) -> None:
    """Prints a table, or writes it: ``-`` is CSV on the output, else by the file's ending.

    Raises:
        ConfigError: If the ending is of no kind of table.
    """
    if out is None and table.empty:
        print("Nothing is left to list.")
    elif out is None:
        with pd.option_context("display.max_colwidth", 60, "display.width", 200):
            print(table.to_string(index=False, float_format="%.4f"))
    elif out == "-":
        table.to_csv(sys.stdout, index=False)
    else:
        write_table(table, Path(out))
        print(f"{out}: {len(table)} rows", file=sys.stderr)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a table by its file's ending, completely or not at all."""
    check_out(str(path))
    with atomic_path(path) as temporary:
        if path.name.endswith(".parquet"):
            try:
                table.to_parquet(temporary, index=False)
            except ImportError:
                raise ImportError(
                    f"{path} needs pyarrow: pip install pyarrow, or write .csv.gz."
                ) from None
        else:
            table.to_csv(
                temporary,
                index=False,
                sep="\t" if path.name.endswith(".tsv") else ",",
                compression="gzip" if path.name.endswith(".gz") else None,
            )
