#!/usr/bin/env python3
"""Train and compare models by the papers' protocol; results as JSON, Markdown and a picture.

    python benchmarks/run.py
        trains LightGCN and IRLLRec-LightGCN on the committed sample set (synthetic)
    python benchmarks/run.py --model lightgcn lightgcn_int --dataset movie --root data --seeds 5
    python benchmarks/run.py --model popularity item-knn ease lightgcn --dataset amazon
        baselines are rows like models, and come first
    python benchmarks/run.py --model lightgcn --dataset amazon --loss softmax --embedding-size 256
        matters more than any head; the row is called lightgcn+softmax-256

A run that was stopped goes on where it was when the same command is given again, and a finished
one is not repeated. Rows of earlier commands with the same --out stay in the table until their
model is run again. Every hyper-parameter is the published one for the model and the data set unless
it is given here.
"""

import argparse
import logging
import platform
import shlex
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch_geometric

import irllrec_pyg
from irllrec_pyg import IRLLRecDataset, build_model
from irllrec_pyg.datasets import MovieLensText
from irllrec_pyg.linear import build_linear, choose_settings, chosen
from irllrec_pyg.nn import InBatchSoftmax, Ranker, Recommender
from irllrec_pyg.published import TRAINING, load_hyperparameters, model_names, unread
from irllrec_pyg.ranking import LIST_METRICS, USER_METRICS, evaluate, evaluate_users
from irllrec_pyg.registry import names
from irllrec_pyg.training import fit

sys.path.insert(0, str(Path(__file__).parent))
import report
import significance
from provenance import provenance, write_users

BASELINES = names("linear")
FULL = "32-true"  # precision
# Nobody published any for the sample set, where a batch of 4096 would be the whole of it.
SAMPLE = {"batch_size": 512, "kd_weight": 0.01, "kd_int_weight": 0.01}


# By name; any other folder under the root is a data set in the published layout.
DATASETS = ("sample", "movie", "amazon", "yelp", "steam", "movielens")
# Hyper-parameters that count something; the other numbers are weights, rates and temperatures.
COUNTS = (
    "batch_size",
    "embedding_size",
    "eval_every",
    "fix_steps",
    "gcn_layer",
    "gt_layer",
    "head_num",
    "intent_num",
    "intent_shift",
    "intent_view",
    "layer_num",
    "mask_depth",
    "num_negatives",
    "patience",
    "seed_num",
)


def hyperparameters() -> dict[str, type]:
    """Every hyper-parameter of any model, with its type."""
    found: dict[str, type] = {}
    for model in model_names():
        for name, value in load_hyperparameters(model, "amazon").items():
            if name in settable(model):
                found[name] = int if name in COUNTS else type(value)
    return {
        name: float if kind is int and name not in COUNTS else kind for name, kind in found.items()
    }


def settable(model: str) -> set[str]:
    """The hyper-parameters that a run of a model can be given, those of training included."""
    return {*load_hyperparameters(model, "amazon"), *TRAINING} - unread(model)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        nargs="+",
        default=["lightgcn", "lightgcn_int"],
        metavar="NAME",
        help=f"published names: {', '.join(model_names())}; "
        f"baselines: {', '.join(BASELINES)} (default: %(default)s)",
    )
    parser.add_argument(
        "--dataset",
        nargs="+",
        default=["sample"],
        metavar="NAME",
        help=f"{', '.join(DATASETS)} or any folder under --root in the published "
        "layout (default: %(default)s)",
    )
    parser.add_argument(
        "--root", default="data", help="folder of the data sets (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        help="runs of each model, with the seeds S, S+1, … (default: %(default)s)",
    )
    parser.add_argument(
        "--first-seed", type=int, default=2023, metavar="S", help="default: %(default)s"
    )
    parser.add_argument(
        "--k",
        type=int,
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
        "--epochs", type=int, help="at most so many (default: 3000; 150 on the sample set)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        help="folder for checkpoints and results (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        help="of the CPU (default: PyTorch's choice; one "
        "on the sample set, which is too small to share out)",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        default=[FULL],
        help="as in Lightning: 32-true, bf16-mixed, ...; several train each model in each",
    )
    parser.add_argument("--accelerator", default="auto", help="default: %(default)s")
    parser.add_argument("--devices", default="1", help="default: %(default)s")
    parser.add_argument(
        "--download-text",
        action="store_true",
        help="fetch the published text embeddings (gigabytes) where they are missing",
    )
    parser.add_argument(
        "--loss",
        choices=["own", "softmax"],
        default="own",
        help="what ranks: the backbone's own loss, or an in-batch softmax over "
        "cosines in its place (default: %(default)s)",
    )
    parser.add_argument(
        "--softmax-temperature",
        type=float,
        default=0.15,
        metavar="FLOAT",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--log-popularity",
        action="store_true",
        help="correct the softmax for the popularity of items",
    )
    group = parser.add_argument_group("hyper-parameters (default: the published ones)")
    for name, kind in sorted(hyperparameters().items()):
        how: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction}
            if kind is bool
            else {"type": kind, "metavar": kind.__name__.upper()}
        )
        group.add_argument(f"--{name.replace('_', '-')}", dest=f"h_{name}", **how)
    args = parser.parse_args(argv)
    known = [*BASELINES, *model_names()]
    if unknown := [name for name in args.model if name not in known]:
        parser.error(f"unknown model {', '.join(unknown)}; there are {', '.join(known)}")
    if unknown := [
        name for name in args.dataset if name not in DATASETS and not Path(args.root, name).is_dir()
    ]:
        parser.error(
            f"unknown data set {', '.join(unknown)}; there are {', '.join(DATASETS)}, and "
            f"no folder of that name is in {args.root}"
        )
    args.given = {
        name[2:]: value
        for name, value in vars(args).items()
        if name.startswith("h_") and value is not None
    }
    taken = {key for name in args.model if name not in BASELINES for key in settable(name)}
    if foreign := sorted(set(args.given) - taken):
        parser.error(f"no chosen model has the hyper-parameter {', '.join(foreign)}")
    labels = [label(args, name, precision) for name in args.model for precision in args.precision]
    if args.compare and args.compare not in labels:
        parser.error(f"--compare must name a row: {', '.join(labels)}")
    # Early stopping watches recall@20.
    args.k, args.metrics = sorted({*args.k, 20}), list(dict.fromkeys(["recall", *args.metrics]))
    return args


def overrides(args: argparse.Namespace, model: str, dataset: str) -> dict[str, Any]:
    """Hyper-parameters in which a run of the model differs from the published configuration."""
    own = settable(model)
    sample = SAMPLE if dataset == "sample" else {}
    return {name: value for name, value in {**sample, **args.given}.items() if name in own}


def label(args: argparse.Namespace, model: str, precision: str = FULL) -> str:
    """The name of a row and of its folder: the model and what was set for it."""
    own = set() if model in BASELINES else settable(model)
    changed = [
        str(value) if name in ("embedding_size", "mode") else f"{name}={value}"
        for name, value in sorted(args.given.items())
        if name in own
    ]
    if args.exclude_validation:
        changed.append("exclude_validation")
    if precision != FULL and model not in BASELINES:
        changed.append(precision)
    softmax = args.loss == "softmax" and model not in BASELINES
    return "-".join([model + ("+softmax" if softmax else ""), *changed])


def build(args: argparse.Namespace, name: str, dataset: IRLLRecDataset) -> Recommender:
    """Builds one model."""
    given = overrides(args, name, dataset.name)
    model = build_model(
        name,
        dataset[0],
        dataset.name,
        **{key: value for key, value in given.items() if key not in TRAINING},
    )
    if args.loss == "softmax":
        model.ranking_loss = InBatchSoftmax(args.softmax_temperature, args.log_popularity)
    return model


def load(args: argparse.Namespace, name: str) -> IRLLRecDataset:
    """Opens a data set."""
    if name == "movielens":
        return MovieLensText(Path(args.root, name))
    return IRLLRecDataset(args.root, name, download_text=args.download_text)


def run(
    args: argparse.Namespace,
    name: str,
    dataset: IRLLRecDataset,
    seed: int,
    precision: str,
    command: str,
) -> tuple[dict[str, Any], Ranker]:
    """Trains one model with one seed; returns what goes into the JSON file, and the model."""
    hparams = {
        **load_hyperparameters(name, dataset.name, args.h_mode),
        **overrides(args, name, dataset.name),
    }
    hparams = {key: value for key, value in hparams.items() if key not in unread(name)}
    if args.loss == "softmax":
        hparams.update(
            softmax_temperature=args.softmax_temperature, log_popularity=args.log_popularity
        )
    torch.manual_seed(seed)
    model = build(args, name, dataset)
    epochs = args.epochs
    if epochs is None:
        epochs = 150 if dataset.name == "sample" else 3000
    folder = args.out / dataset.name / label(args, name, precision) / f"seed-{seed}"
    origin = provenance(dataset[0], folder)
    result = fit(
        model,
        dataset[0],
        epochs=epochs,
        seed=seed,
        folder=folder,
        k=args.k,
        metrics=args.metrics,
        exclude_validation=args.exclude_validation,
        precision=precision,
        accelerator=args.accelerator,
        devices=args.devices,
        **{key: hparams[key] for key in TRAINING if key in hparams},
    )
    return {
        "model": label(args, name, precision),
        "dataset": dataset.name,
        "seed": seed,
        "test": result.test,
        "validation": result.validation,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds_per_epoch": result.seconds_per_epoch,
        "seconds": result.seconds,
        "hyperparameters": hparams,
        "history": result.history.dropna(axis=1, how="all").to_dict("list"),
        **origin,
        **circumstances(args, dataset, command),
    }, model


def rank(
    args: argparse.Namespace, name: str, dataset: IRLLRecDataset, command: str
) -> tuple[dict[str, Any], Ranker]:
    """Computes a baseline; returns what goes into the JSON file, and the baseline.

    Its settings are those measured for the data set, else the best on the validation items.
    """
    data = dataset[0]
    settings = chosen().get(dataset.name, {}).get(name)
    if settings is None:
        settings = choose_settings(name, data).settings
    start = time.perf_counter()
    baseline = build_linear(name, data, **settings)
    seconds = time.perf_counter() - start
    ranking: dict[str, Any] = {"k": args.k, "metrics": args.metrics}
    return {
        "model": label(args, name),
        "dataset": dataset.name,
        "seed": None,
        "test": evaluate(
            baseline, data, "test", exclude_validation=args.exclude_validation, **ranking
        ),
        "validation": evaluate(baseline, data, "val", **ranking),
        "seconds": seconds,
        "hyperparameters": settings,
        **provenance(data),
        **circumstances(args, dataset, command),
    }, baseline


def circumstances(
    args: argparse.Namespace, dataset: IRLLRecDataset, command: str
) -> dict[str, Any]:
    """How and where results came about."""
    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available() and args.accelerator in ("auto", "gpu", "cuda")
        else platform.processor() or "cpu"
    )
    return {
        "synthetic": dataset.name == "sample",
        "command": command,
        "device": device,
        "threads": torch.get_num_threads(),
        "versions": {
            "irllrec_pyg": irllrec_pyg.__version__,
            "torch": torch.__version__,
            "torch_geometric": torch_geometric.__version__,
            "python": platform.python_version(),
        },
    }


def main(argv: list[str] | None = None) -> int:
    """Runs every model on every data set with every seed and reports after each data set."""
    args = parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
    command = "python benchmarks/run.py " + shlex.join(sys.argv[1:] if argv is None else argv)
    command = command.strip()
    if args.threads or args.dataset == ["sample"]:
        torch.set_num_threads(args.threads or 1)
    models = [name for name in args.model if name not in BASELINES]
    datasets = {name: load(args, name) for name in args.dataset}
    for name, dataset in datasets.items():  # what is missing shows before hours of training
        report.earlier(args.out / name)
        for model in models:
            build(args, model, dataset)
    for name, dataset in datasets.items():
        results: list[dict[str, Any]] = []
        users: dict[str, list[pd.DataFrame]] = {}
        jobs = [(model, None, FULL) for model in args.model if model in BASELINES] + [
            (model, args.first_seed + at, precision)
            for model in models
            for precision in args.precision
            for at in range(args.seeds)
        ]
        for model, seed, precision in jobs:
            how = "" if seed is None else f", seed {seed}"
            how += "" if precision == FULL else f", {precision}"
            print(f"\n{model} on {name}{how}", flush=True)
            result, ranker = (
                rank(args, model, dataset, command)
                if seed is None
                else run(args, model, dataset, seed, precision, command)
            )
            results.append(result)
            values = evaluate_users(
                ranker,
                dataset[0],
                k=args.k,
                metrics=[metric for metric in args.metrics if metric in USER_METRICS],
                exclude_validation=args.exclude_validation,
            )
            folder = args.out / name / result["model"] / ("" if seed is None else f"seed-{seed}")
            result["users"] = write_users(values, folder / "users.npz", args.out / name)
            longest = [column for column in values if column.endswith(f"@{max(args.k)}")]
            users.setdefault(result["model"], []).append(values[["user", *longest]])
        comparison = significance.compare(users, args.compare) if args.compare else None
        report.write(results, args.out / name, comparison)
    return 0


if __name__ == "__main__":
    sys.exit(main())
