"""The command line of ``run.py``: which runs it asks for, and what their rows are called."""

import argparse
import re
from pathlib import Path
from typing import Any

from irllrec_pyg.commands.arguments import positive
from irllrec_pyg.commands.common import add_metrics
from irllrec_pyg.config import ConfigError
from irllrec_pyg.datasets.config import NAMES, DataConfig
from irllrec_pyg.flags import Found, add_run_flags, by_path, given, own_settings, run_settings
from irllrec_pyg.published import aliases, model_names
from irllrec_pyg.registry import names
from irllrec_pyg.runs import RunConfig
from irllrec_pyg.training import TrainingConfig

FULL = "32-true"  # precision
# Nobody published any for the sample set, where a batch of 4096 would be the whole of it.
SAMPLE = {
    "training.epochs": 150,
    "training.batch_size": 512,
    "heads.profile.weight": 0.01,
    "heads.intent.pairwise.weight": 0.01,
}
# Settings for which a command has an option of its own, since it may run several of them.
OPTIONS = ("seed", "k", "metrics", "precision", "exclude_validation", "monitor")


def parse(argv: list[str] | None, description: str = "") -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model",
        nargs="+",
        default=["popularity", "item-knn", "ease", "low-pass-svd", "lightgcn", "lightgcn_int"],
        metavar="NAME",
        help=f"published names: {', '.join(model_names())}; any backbone "
        f"({', '.join(names('backbone'))}) with any heads ({', '.join(names('head'))}), such as "
        f"gnn+profile; closed-form models: {', '.join(names('linear'))} (default: %(default)s)",
    )
    parser.add_argument(
        "--dataset",
        nargs="+",
        default=["sample"],
        metavar="NAME",
        help=f"{', '.join(NAMES)} or any folder under --root with tables or in the "
        "published layout "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--root", default="data", help="folder of the data sets (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds",
        type=positive,
        default=1,
        help="runs of each model, with the seeds S, S+1, … (default: %(default)s)",
    )
    parser.add_argument(
        "--first-seed", type=int, default=2023, metavar="S", help="default: %(default)s"
    )
    add_metrics(parser)  # and early stopping watches recall@20
    parser.add_argument(
        "--compare",
        metavar="NAME",
        help="test every row of this command against this one: in pairs over users, and by "
        "Welch's test over seeds",
    )
    parser.add_argument(
        "--mode",
        choices=["as_published", "as_in_paper"],
        help="whether to follow published code or its paper (default: published code, if any is)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        help="folder for checkpoints and results (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        help="of the CPU (default: PyTorch's choice; one on the sample set, which is too small to "
        "share out)",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        default=[FULL],
        help="as in Lightning: 32-true, bf16-mixed, ...; several train each model in each",
    )
    parser.add_argument(
        "--download-text",
        action="store_true",
        help="fetch the published text embeddings (gigabytes) where they are missing",
    )
    parser.add_argument(
        "--loss",
        choices=["own", *names("ranking-loss")],
        default="own",
        help="what ranks: the backbone's own loss, or one in its place (default: %(default)s)",
    )
    group = parser.add_argument_group(
        "settings (without these, a published model has the published values, another the defaults)"
    )
    add_run_flags(group, settings())
    args = parser.parse_args(argv)
    args.given = given(args)
    for several in ("model", "dataset", "precision"):
        setattr(args, several, list(dict.fromkeys(getattr(args, several))))
    # Early stopping watches recall@20.
    args.k, args.metrics = sorted({*args.k, 20}), list(dict.fromkeys(["recall", *args.metrics]))
    try:
        check(args)
    except ConfigError as error:
        parser.error(str(error))
    return args


def settings() -> Found:
    """Every setting of models, training and tables that the command line takes, by path."""
    return run_settings(OPTIONS)


def is_linear(model: str) -> bool:
    """Whether a name is that of a closed-form model."""
    return model in names("linear")


def check(args: argparse.Namespace) -> None:
    """Refuses unknown names, and settings that no chosen model has.

    Raises:
        ConfigError: If something is unknown or out of bounds; it is named.
    """
    for name in args.dataset:
        if name not in NAMES and not Path(args.root, name).is_dir():
            raise ConfigError(
                f"unknown data set {name}; there are {', '.join(NAMES)}, and no folder of that "
                f"name is in {args.root}"
            )
    trained = [model for model in args.model if not is_linear(model)]
    taken = {path for model in trained for path in own_settings(model, args.loss, settings())}
    taken |= {name for model in trained for name, path in aliases(model).items() if path in taken}
    for dataset in args.dataset:
        of_data(args, dataset)
    model_given = {path for path in args.given if not path.startswith(("training.", "data."))}
    if foreign := sorted(model_given - taken):
        raise ConfigError(f"no chosen model has the setting {', '.join(foreign)}")
    for model in trained:
        for dataset in args.dataset:
            describe(args, model, dataset, args.first_seed, FULL)
    labels = [label(args, name, precision) for name in args.model for precision in args.precision]
    for name in labels:
        if not re.fullmatch(r"[\w.,+=-]+", name):
            raise ConfigError(f"a row and its folder would be called {name!r}: use a plain value")
    if args.compare and args.compare not in labels:
        raise ConfigError(f"--compare must name a row: {', '.join(labels)}")


def given_to(args: argparse.Namespace, model: str) -> dict[str, Any]:
    """Those of the given settings that a model has, by path."""
    known = own_settings(model, args.loss, settings())
    return {path: value for path, value in by_path(model, args.given).items() if path in known}


def describe(
    args: argparse.Namespace, model: str, dataset: str, seed: int, precision: str
) -> RunConfig:
    """The description of one run."""
    known = own_settings(model, args.loss, settings())
    values = {path: value for path, value in SAMPLE.items() if path in known}
    values = {**(values if dataset == "sample" else {}), **given_to(args, model)}
    if args.loss != "own":
        values["ranking_loss.name"] = args.loss
    values |= {
        "training.seed": seed,
        "training.k": args.k,
        "training.metrics": args.metrics,
        "training.exclude_validation": args.exclude_validation,
        "training.precision": precision,
    }
    return RunConfig.of(model, dataset, values, args.root, args.mode)


def of_data(args: argparse.Namespace, name: str) -> DataConfig:
    """The description of a data set."""
    tables = {
        path.removeprefix("data."): value
        for path, value in args.given.items()
        if path.startswith("data.")
    }
    return DataConfig.read(
        {**tables, "name": name, "root": str(args.root), "download_text": args.download_text}
    )


def folder_of(args: argparse.Namespace, name: str) -> str:
    """The name of a data set's results: another split or encoder makes another data set."""
    changed = [
        f"{short(path)}={word(value)}"
        for path, value in sorted(args.given.items())
        if path.startswith("data.")
    ]
    return re.sub(r"[^\w.,+=-]", "_", "-".join([name, *changed]))


def label(args: argparse.Namespace, model: str, precision: str = FULL) -> str:
    """The name of a row and of its folder: the model and what was set for it."""
    changed = []
    if not is_linear(model):
        same = [f"training.{name}" for name in TrainingConfig.FREE]
        changed = [
            word(value) if path == "backbone.embedding_size" else f"{short(path)}={word(value)}"
            for path, value in sorted(given_to(args, model).items())
            if path not in same and not path.startswith("data.")
        ]
        changed += [args.mode] if args.mode else []
        changed += [precision] if precision != FULL else []
        model += f"+{args.loss}" if args.loss != "own" else ""
    changed += ["exclude_validation"] if args.exclude_validation else []
    return "-".join([model, *changed])


def short(path: str) -> str:
    """A setting's path without what goes without saying, where that is one setting's alone."""
    names = [
        re.sub(r"^(backbone|training|heads|data)\.", "", other) for other in (path, *settings())
    ]
    return names[0] if names.count(names[0]) == 2 else path


def word(value: Any) -> str:
    """A value in the name of a row."""
    if isinstance(value, list):
        return ",".join(map(word, value))
    return "null" if value is None else str(value)
