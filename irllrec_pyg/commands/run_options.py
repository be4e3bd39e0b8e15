"""The arguments that describe a run, and the run that they describe."""

import argparse
from pathlib import Path
from typing import Any

from ..config import ConfigError, unknown_name
from ..datasets.config import DataConfig
from ..flags import add_run_flags, by_path, given, linear_settings, own_settings, run_settings
from ..published import model_names
from ..registry import names
from ..runs import RunConfig, is_trained
from ..study.arms import read_arms
from .common import DATA_HELP, add_metrics, positive

# Settings of training that have options of their own here.
OPTIONS = ("k", "metrics", "exclude_validation", "seed")


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
        "gnn+profile (default: %(default)s, with texts where there are any)",
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
    args.model = args.model.lower()
    known_names = [*read_arms(None), *names("linear"), *model_names(), *names("backbone")]
    backbone = args.model.partition("+")[0].partition("_")[0]
    if args.model not in known_names and backbone not in names("backbone"):
        raise ConfigError(unknown_name("model", args.model, list(dict.fromkeys(known_names))))
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
