"""The arguments that describe a run, and the run that they describe."""

import argparse
from pathlib import Path
from typing import Any

from ..config import ConfigError, unknown_name
from ..datasets.config import DataConfig
from ..flags import (
    TABLES,
    add_flags,
    add_run_flags,
    by_path,
    given,
    help_of,
    linear_settings,
    own_settings,
    run_settings,
)
from ..published import aliases, model_names
from ..registry import names
from ..runs import RunConfig, is_trained
from ..study.arms import read_arms
from .arguments import add_threads
from .common import DATA_HELP, add_metrics

# Settings of training that have options of their own here.
OPTIONS = ("k", "metrics", "exclude_validation", "seed")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that describe a run, and ``--help``."""
    parser.add_argument(
        "-h",
        "--help",
        action=_Help,
        nargs=0,
        default=argparse.SUPPRESS,
        help="show this help, after --model NAME also the settings of that model",
    )
    parser.add_argument("--data", metavar="FOLDER", help=DATA_HELP)
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="default: runs/DATA-MODEL")
    own = [name for name in read_arms(None) if name not in names("linear")]
    parser.add_argument(
        "--model",
        default="tale",
        metavar="NAME",
        help=f"an ensemble or tuned model: {', '.join(own)}; a closed form: "
        f"{', '.join(names('linear'))}; any backbone ({', '.join(names('backbone'))}), as "
        "published with texts, such as lightgcn_int (_plus, _gene, _int), or with any heads "
        f"({', '.join(names('head'))}), such as gnn+profile (default: %(default)s, with texts "
        "where there are any)",
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
    add_threads(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    known = {**run_settings(OPTIONS), **linear_settings()}
    data = {path: info for path, info in known.items() if path.startswith("data.")}
    add_flags(parser.add_argument_group("how tables are read and split"), data, TABLES)
    group = parser.add_argument_group(
        "settings of the model and its training",
        f"(published values, else defaults) Which there are: {parser.prog} --model NAME --help",
    )
    add_run_flags(group, {path: info for path, info in known.items() if path not in data})


class _Help(argparse.Action):
    """Shows the settings of the model that was named, and of no other one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        try:
            namespace.model = known_model(namespace.model)
            shown = settings_for(namespace.model, namespace.loss)
        except ConfigError as error:
            parser.error(str(error))
        known = {**run_settings(OPTIONS), **linear_settings()}
        for action in parser._actions:
            path = action.dest.removeprefix("setting:")
            if path != action.dest and path not in shown:
                action.help = argparse.SUPPRESS
            elif namespace.model in known.get(path, {}):  # and not of every model that has one
                own = {namespace.model: known[path][namespace.model]}
                action.help = help_of(own).replace("%", "%%")
        parser.print_help()
        parser.exit()


def known_model(name: str) -> str:
    """The name of a model as others have it.

    Raises:
        ConfigError: If there is none of that name.
    """
    name = name.lower()
    known = [*read_arms(None), *names("linear"), *model_names(), *names("backbone")]
    if name not in known and name.partition("+")[0].partition("_")[0] not in names("backbone"):
        raise ConfigError(unknown_name("model", name, list(dict.fromkeys(known))))
    return name


def settings_for(model: str, loss: str) -> set[str]:
    """The settings that a model takes, by path and by published name."""
    if not is_trained(model):
        own = {path for path, owners in linear_settings().items() if model in owners}
        return own | set(TABLES.values())
    own = own_settings(model, loss, run_settings(OPTIONS))
    return own | {name for name, path in aliases(model).items() if path in own}


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
    args.model = known_model(args.model)
    trained = is_trained(args.model)
    known = settings_for(args.model, args.loss)
    if trained:
        found = by_path(args.model, found)
        if args.loss != "own":
            found["ranking_loss.name"] = args.loss
            known.add("ranking_loss.name")
    if foreign := sorted(set(found) - known):
        raise ConfigError(
            f"{args.model!r} has no setting {', '.join(foreign)}; --model {args.model} --help "
            "lists those that it has."
        )
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
