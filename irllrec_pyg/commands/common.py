"""What commands share: runs from arguments, ids, tables in and out."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch_geometric.data import HeteroData

from ..config import ConfigError, read_yaml
from ..datasets.config import NAMES, DataConfig
from ..files import atomic_path
from ..flags import add_run_flags, by_path, given, linear_settings, own_settings, run_settings
from ..model_folder import load_folder
from ..published import model_names
from ..ranking import LIST_METRICS, USER_METRICS, Ranker
from ..registry import names
from ..runs import RunConfig, is_trained
from ..study.arms import read_arms

DATA_HELP = (
    "folder of tables (interactions.csv, items.csv) or in the published layout, or one of "
    f"{', '.join(NAMES)}"
)
RUN_HELP = "folder that 'irllrec train' wrote"
# Settings of training that have options of their own here.
OPTIONS = ("k", "metrics", "exclude_validation", "seed")


def positive(text: str) -> int:
    """A whole number above zero."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that describe a run."""
    parser.add_argument("--data", metavar="FOLDER", help=DATA_HELP)
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="default: runs/DATA-MODEL")
    parser.add_argument(
        "--model",
        default="tale",
        metavar="NAME",
        help=f"an ensemble or tuned model: {', '.join(read_arms(None))}; a closed form: "
        f"{', '.join(names('linear'))}; a published name: {', '.join(model_names())}; any backbone "
        f"({', '.join(names('backbone'))}) with any heads ({', '.join(names('head'))}), such as "
        "gnn+profile (default: %(default)s, which needs no GPU and takes texts where there are any)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of everything random in training (default: 0)"
    )
    parser.add_argument(
        "--loss",
        choices=["own", *names("ranking-loss")],
        default="own",
        help="what a backbone is ranked by: its own loss, or one in its place (default: own)",
    )
    parser.add_argument(
        "--mode",
        choices=["as_published", "as_in_paper"],
        help="of a published model: the code that was published, or its paper (default: the code)",
    )
    add_metrics(parser)
    parser.add_argument(
        "--licence", default="", help="of data and texts, for the model's card (default: none)"
    )
    parser.add_argument("--threads", type=positive, help="of the CPU (default: PyTorch's choice)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    group = parser.add_argument_group(
        "settings (a published model has the published values, another one the defaults)"
    )
    add_run_flags(group, {**run_settings(OPTIONS), **linear_settings()})


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


def config_of(args: argparse.Namespace, search: dict[str, Any] | None = None) -> RunConfig:
    """The run that arguments describe.

    Args:
        args (Namespace): Of :func:`add_run_arguments`.
        search (dict, optional): Settings of a search, which any model then is. (default: none)

    Raises:
        ConfigError: If a value is wrong, or the model has no such setting.
    """
    if args.data is None:
        raise ConfigError("--data is needed: a folder with interactions.csv, or a published name.")
    data = DataConfig.at(args.data)
    found = given(args)
    values = {
        path: found.pop(path) for path in list(found) if path.startswith(("data.", "training."))
    }
    trained = is_trained(args.model)
    if trained:
        known = own_settings(args.model, args.loss)
        found = by_path(args.model, found)
        if args.loss != "own":
            found["ranking_loss.name"] = args.loss
            known.add("ranking_loss.name")
    else:
        known = set(linear_settings())
    if foreign := sorted(set(found) - known):
        raise ConfigError(f"{args.model!r} has no setting {', '.join(foreign)}.")
    ranking = {name: getattr(args, name) for name in ("k", "metrics", "exclude_validation")}
    values |= {f"training.{name}": value for name, value in ranking.items()}
    if trained:
        # Early stopping watches recall@20.
        values["training.k"] = sorted({*args.k, 20})
        values["training.metrics"] = list(dict.fromkeys(["recall", *args.metrics]))
    if trained and search is None:
        values["training.seed"] = args.seed
    else:
        search = {"seed": args.seed, **(search or {})}
    return RunConfig.of(
        args.model,
        data.name,
        {
            **values,
            **found,
            **{f"ranker.{name}": value for name, value in (search or {}).items()},
            "data.licence": args.licence,
        },
        data.root,
        args.mode,
    )


def folder_of(args: argparse.Namespace, config: RunConfig) -> Path:
    """Where a run goes."""
    out: Path = args.out or Path("runs", f"{config.data.name}-{args.model}")
    return out


def open_data(config: DataConfig) -> tuple[HeteroData, pd.DataFrame | None]:
    """The graph of a data set, and the table of its items where it has one."""
    dataset = config.open()
    return dataset[0], getattr(dataset, "items", None)


def of_run(folder: str) -> RunConfig:
    """The description of a run."""
    file = Path(folder, "config.yaml")
    if not file.exists():
        raise ConfigError(f"{folder} is no run: there is no config.yaml, as 'irllrec train' writes.")
    return RunConfig.load(file)


def limit_threads(args: argparse.Namespace) -> None:
    """Takes so many threads as the command says."""
    if args.threads:
        torch.set_num_threads(args.threads)


def ids_of(ranker: Ranker, side: str, texts: Iterable[str]) -> list[int | str]:
    """Ids as the model has them: text, or numbers where they are numbers.

    Raises:
        ConfigError: If one is unknown; it is named, with the nearest ones.
    """
    ids = getattr(ranker, f"{side}_ids")
    known = range(getattr(ranker, f"num_{side}s")) if ids is None else ids
    by_text = {str(value): value for value in known}
    found = []
    for text in texts:
        if text not in by_text:
            first = ", ".join(map(str, list(by_text)[:5]))
            alike = [name for name in by_text if name.lstrip("0") == text.lstrip("0")][:1]
            hint = f"did you mean {alike[0]!r}?" if alike else f"there are {first}, …"
            raise ConfigError(f"Unknown {side} {text!r}; {hint}")
        found.append(by_text[text])
    return found


def load(folder: str) -> Ranker:
    """The model of a run."""
    return load_folder(folder)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which items may be listed."""
    group = parser.add_argument_group("which items may be listed")
    group.add_argument("--allow", nargs="+", metavar="ITEMS", help="only these (default: all)")
    group.add_argument("--deny", nargs="+", metavar="ITEMS", help="none of these")
    group.add_argument(
        "--where",
        metavar="CONDITION",
        help="on columns of items.csv, such as \"price < 20 and in_stock == True\"",
    )
    group.add_argument(
        "--max-per",
        nargs="+",
        default=[],
        metavar="COLUMN=N",
        help="at most N items of the same value of a column, such as author=2",
    )
    group.add_argument(
        "--diversity",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="0: the best items; 1: items as unlike as can be (default: %(default)s)",
    )


def filters_of(args: argparse.Namespace, ranker: Ranker) -> "Filters | None":
    """The rules of :func:`add_filters`, or nothing."""
    from ..ranking.filters import Filters

    most = {}
    for text in args.max_per:
        column, _, number = text.rpartition("=")
        if not column or not number.isdigit():
            raise ConfigError(f"--max-per must be COLUMN=N, such as author=2, got {text!r}.")
        most[column] = int(number)
    sides = {name: split_list(getattr(args, name)) for name in ("allow", "deny")}
    ids = {
        name: ids_of(ranker, "item", texts) if texts else None for name, texts in sides.items()
    }
    if not (any(sides.values()) or args.where or most or args.diversity):
        return None
    return Filters(**ids, where=args.where, max_per=most, diversity=args.diversity)


def history_of(
    args: argparse.Namespace, ranker: Ranker
) -> tuple[list[int | str], list[float] | None]:
    """The items of ``--history`` and their ``--weights``."""
    items = ids_of(ranker, "item", split_list(args.history))
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


def split_list(texts: Iterable[str] | None) -> list[str]:
    """Values that stand apart or are separated by commas."""
    if texts is None:
        return []
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def with_titles(table: pd.DataFrame, ranker: Ranker, column: str = "item") -> pd.DataFrame:
    """A list with the titles of its items, where the model has a table of them."""
    items = getattr(ranker, "item_table", None)
    if items is None or "title" not in items or "title" in table:
        return table
    return table.assign(title=table[column].map(items["title"].to_dict()).fillna(""))


def show(table: pd.DataFrame, out: str | None) -> None:
    """Prints a table, or writes it: ``-`` is CSV on the output, else by the file's ending.

    Raises:
        ConfigError: If the ending is of no kind of table.
    """
    if out is None:
        with pd.option_context("display.max_colwidth", 60, "display.width", 200):
            print(table.to_string(index=False, float_format="%.4f"))
    elif out == "-":
        table.to_csv(sys.stdout, index=False)
    else:
        write_table(table, Path(out))
        print(f"{out}: {len(table)} rows", file=sys.stderr)


def check_out(out: str | None) -> None:
    """Refuses a file that could not be written, before the work is done."""
    if out not in (None, "-") and not str(out).endswith((".csv", ".csv.gz", ".tsv", ".parquet")):
        raise ConfigError(f"--out must be -, or end in .csv, .csv.gz, .tsv or .parquet, got {out}.")


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


def config_file(path: str) -> RunConfig:
    """The run of a YAML file."""
    if not Path(path).is_file():
        raise ConfigError(f"There is no file {path}.")
    read_yaml(path)
    return RunConfig.load(path)
