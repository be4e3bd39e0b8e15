#!/usr/bin/env python3
"""Train and compare models by the papers' protocol; results as JSON, Markdown and a picture.

    python benchmarks/run.py
        closed-form models, LightGCN and IRLLRec-LightGCN on the committed sample set (synthetic)
    python benchmarks/run.py --model lightgcn lightgcn_int --dataset movie --root data --seeds 5
    python benchmarks/run.py --model popularity item-knn ease lightgcn --dataset amazon
        closed-form models are rows like others, and come first
    python benchmarks/run.py --model gccf_int gnn+profile --backbone.gnn GAT --dataset amazon
        any backbone with any heads
    python benchmarks/run.py --model lightgcn --dataset amazon --loss softmax --embedding-size 256
        the row is called lightgcn+softmax-256
    python benchmarks/run.py --model l3ae --dataset shop --split random --encoder wordllama+words
        a folder of tables; what is made of it is in the name of its results' folder

A run that was stopped goes on where it was when the same command is given again, and a finished
one is not repeated. Rows of earlier commands with the same --out stay in the table until their
model is run again. Every setting is the published one for the model and the data set unless it is
given here, by its own name (--heads.profile.weight) or by its published one (--kd-weight).
"""

import argparse
import logging
import platform
import re
import shlex
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch_geometric
from torch_geometric.data import HeteroData

import irllrec_pyg
from irllrec_pyg.config import ConfigError
from irllrec_pyg.flags import Found, add_flags, given, model_settings, settings_of
from irllrec_pyg.linear import build_linear, choose_settings, chosen
from irllrec_pyg.nn import ModelConfig, Recommender
from irllrec_pyg.provenance import provenance, write_users
from irllrec_pyg.published import ALIASES, OWN_ALIASES, aliases, model_names, split_name
from irllrec_pyg.ranking import LIST_METRICS, USER_METRICS, Ranker, evaluate, evaluate_users
from irllrec_pyg.registry import names
from irllrec_pyg.runs import DataConfig, RunConfig
from irllrec_pyg.runs import run as run_one
from irllrec_pyg.training import TrainingConfig

sys.path.insert(0, str(Path(__file__).parent))
import report
import significance

FULL = "32-true"  # precision
# Nobody published any for the sample set, where a batch of 4096 would be the whole of it.
SAMPLE = {
    "training.epochs": 150,
    "training.batch_size": 512,
    "heads.profile.weight": 0.01,
    "heads.intent.pairwise.weight": 0.01,
}
DATASETS = ("sample", "movie", "amazon", "yelp", "steam", "movielens")
# Settings for which a command has an option of its own, since it may run several of them.
NOT_OF_TABLES = ("name", "root", "download_text")
OPTIONS = ("seed", "k", "metrics", "precision", "exclude_validation", "monitor")
# What is made of a folder of tables.
TABLES = {
    **{name: f"data.{name}" for name in DataConfig.model_fields if name not in NOT_OF_TABLES},
    "split_seed": "data.seed",
}
del TABLES["seed"]  # that of a run is another
SHORT = {
    **ALIASES,
    **TABLES,
    **{name: f"training.{name}" for name in ("epochs", "accelerator", "devices")},
}
# Published names that are another setting for another backbone.
VARYING = {name: {ALIASES[name]} for own in OWN_ALIASES.values() for name in own}
for _own in OWN_ALIASES.values():
    for _name, _path in _own.items():
        VARYING[_name].add(_path)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
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
        help=f"{', '.join(DATASETS)} or any folder under --root with tables or in the "
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
    parser.add_argument(
        "--k",
        type=positive,
        nargs="+",
        default=[5, 10, 20],
        help="lengths of the ranked list (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=["recall", "ndcg"],
        choices=[*USER_METRICS, *LIST_METRICS],
        help="default: %(default)s; early stopping watches recall@20",
    )
    parser.add_argument(
        "--exclude-validation",
        action="store_true",
        help="at test, leave out a user's validation items (not the papers' protocol)",
    )
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
    found = settings()
    for name, paths in VARYING.items():
        found[name] = {
            path: info for path in sorted(paths) for info in list(found[path].values())[:1]
        }
    add_flags(group, found, {name: path for name, path in SHORT.items() if name not in VARYING})
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


def positive(text: str) -> int:
    """A whole number above zero."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def settings() -> Found:
    """Every setting of models, training and tables that the command line takes, by path."""
    whole = {path: {"model": info} for path, info in settings_of(ModelConfig)}
    training = {path: {"training": info} for path, info in settings_of(TrainingConfig)}
    data = {path: {"data": info} for path, info in settings_of(DataConfig)}
    return {
        **model_settings(),
        **{path: whole[path] for path in ("reg_weight", "similarity")},
        **{f"training.{path}": training[path] for path in training if path not in OPTIONS},
        **{path: data[path.removeprefix("data.")] for path in TABLES.values()},
    }


def is_linear(model: str) -> bool:
    """Whether a name is that of a closed-form model."""
    return model in names("linear")


def check(args: argparse.Namespace) -> None:
    """Refuses unknown names, and settings that no chosen model has.

    Raises:
        ConfigError: If something is unknown or out of bounds; it is named.
    """
    for name in args.dataset:
        if name not in DATASETS and not Path(args.root, name).is_dir():
            raise ConfigError(
                f"unknown data set {name}; there are {', '.join(DATASETS)}, and no folder of that "
                f"name is in {args.root}"
            )
    trained = [model for model in args.model if not is_linear(model)]
    taken = {path for model in trained for path in own(args, model)}
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


def own(args: argparse.Namespace, model: str) -> set[str]:
    """The settings that a model has."""
    backbone, heads = split_name(model)
    return {
        path
        for path, owners in settings().items()
        if (not path.startswith("backbone.") or backbone in owners)
        and (not path.startswith("heads.") or path.split(".")[1] in heads)
        and (not path.startswith("ranking_loss.") or args.loss in owners)
    }


def given_to(args: argparse.Namespace, model: str) -> dict[str, Any]:
    """Those of the given settings that a model has, by path."""
    known, short_for = own(args, model), aliases(model)
    by_path = {short_for.get(name, name): value for name, value in args.given.items()}
    return {path: value for path, value in by_path.items() if path in known}


def describe(
    args: argparse.Namespace, model: str, dataset: str, seed: int, precision: str
) -> RunConfig:
    """The description of one run."""
    known = own(args, model)
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


def train(
    args: argparse.Namespace, model: str, data: HeteroData, config: RunConfig, command: str
) -> tuple[dict[str, Any], Recommender]:
    """Trains one model with one seed; returns what goes into the JSON file, and the model."""
    row = label(args, model, config.training.precision)
    dataset = folder_of(args, config.data.name)
    folder = args.out / dataset / row / f"seed-{config.training.seed}"
    origin = provenance(data, folder)
    ranker, result = run_one(config, folder, data)
    return {
        "model": row,
        "dataset": dataset,
        "seed": config.training.seed,
        "test": result.test,
        "validation": result.validation,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds_per_epoch": result.seconds_per_epoch,
        "seconds": result.seconds,
        "config": config.to_dict(),
        "history": result.history.dropna(axis=1, how="all").to_dict("list"),
        **origin,
        **circumstances(args, dataset, command),
    }, ranker


def rank(
    args: argparse.Namespace, name: str, dataset: str, data: HeteroData, command: str
) -> tuple[dict[str, Any], Ranker]:
    """Computes a closed-form model; returns what goes into the JSON file, and the model.

    Its settings are those chosen for the data set, else the best on the validation items.
    """
    best = chosen().get(dataset, {}).get(name)
    best = choose_settings(name, data).settings if best is None else best
    start = time.perf_counter()
    ranker = build_linear(name, data, **best)
    seconds = time.perf_counter() - start
    ranking: dict[str, Any] = {"k": args.k, "metrics": args.metrics}
    return {
        "model": label(args, name),
        "dataset": dataset,
        "seed": None,
        "test": evaluate(
            ranker, data, "test", exclude_validation=args.exclude_validation, **ranking
        ),
        "validation": evaluate(ranker, data, "val", **ranking),
        "seconds": seconds,
        "hyperparameters": best,
        **provenance(data),
        **circumstances(args, dataset, command),
    }, ranker


def circumstances(args: argparse.Namespace, dataset: str, command: str) -> dict[str, Any]:
    """How and where results came about."""
    accelerator = args.given.get("training.accelerator", "auto")
    on_gpu = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    return {
        "synthetic": dataset == "sample",
        "command": command,
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "versions": {
            "irllrec_pyg": irllrec_pyg.__version__,
            "torch": torch.__version__,
            "torch_geometric": torch_geometric.__version__,
            "python": platform.python_version(),
        },
    }


def compare_on(args: argparse.Namespace, dataset: str, data: HeteroData, command: str) -> None:
    """Runs every model with every seed on one data set, and reports."""
    results: list[dict[str, Any]] = []
    users: dict[str, list[pd.DataFrame]] = {}
    jobs = [(model, None, FULL) for model in args.model if is_linear(model)] + [
        (model, args.first_seed + at, precision)
        for model in args.model
        if not is_linear(model)
        for precision in args.precision
        for at in range(args.seeds)
    ]
    where = folder_of(args, dataset)
    for model, seed, precision in jobs:
        how = "" if seed is None else f", seed {seed}"
        how += "" if precision == FULL else f", {precision}"
        print(f"\n{model} on {where}{how}", flush=True)
        if seed is None:
            result, ranker = rank(args, model, where, data, command)
        else:
            config = describe(args, model, dataset, seed, precision)
            result, ranker = train(args, model, data, config, command)
        results.append(result)
        values = evaluate_users(
            ranker,
            data,
            k=args.k,
            metrics=[metric for metric in args.metrics if metric in USER_METRICS],
            exclude_validation=args.exclude_validation,
        )
        folder = args.out / where / result["model"] / ("" if seed is None else f"seed-{seed}")
        result["users"] = write_users(values, folder / "users.npz", args.out / where)
        longest = [column for column in values if column.endswith(f"@{max(args.k)}")]
        users.setdefault(result["model"], []).append(values[["user", *longest]])
    comparison = significance.compare(users, args.compare) if args.compare else None
    report.write(results, args.out / where, comparison)


def _run(args: argparse.Namespace, command: str) -> None:
    opened = {name: of_data(args, name).open()[0] for name in args.dataset}
    for name, data in opened.items():  # what is missing shows before hours of training
        report.earlier(args.out / folder_of(args, name))
        for model in args.model:
            if not is_linear(model):
                config = describe(args, model, name, args.first_seed, FULL)
                Recommender.from_config(config.model, data)
    for name, data in opened.items():
        compare_on(args, name, data, command)


def main(argv: list[str] | None = None) -> int:
    """Runs every model on every data set with every seed and reports after each data set."""
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
    command = "python benchmarks/run.py " + shlex.join(sys.argv[1:] if argv is None else argv)
    command = command.strip()
    threads = torch.get_num_threads()
    try:
        if args.threads or args.dataset == ["sample"]:
            torch.set_num_threads(args.threads or 1)
        _run(args, command)
    finally:  # sums round differently by another number of threads
        torch.set_num_threads(threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
