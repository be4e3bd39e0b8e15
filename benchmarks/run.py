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
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch_geometric
from torch_geometric.data import HeteroData

import irllrec_pyg
from irllrec_pyg.held_out import by_rules
from irllrec_pyg.linear import choose_settings, chosen
from irllrec_pyg.nn import Recommender
from irllrec_pyg.provenance import provenance, write_users
from irllrec_pyg.ranking import USER_METRICS, Ranker, evaluate_users
from irllrec_pyg.registry import lookup
from irllrec_pyg.runs import RankerConfig, RunConfig
from irllrec_pyg.runs import run as run_one
from irllrec_pyg.training import TrainingConfig

sys.path.insert(0, str(Path(__file__).parent))
import report
import significance
from run_arguments import FULL, describe, folder_of, is_linear, label, of_data, parse


def train(
    args: argparse.Namespace, model: str, data: HeteroData, config: RunConfig, command: str
) -> tuple[dict[str, Any], Ranker]:
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
    settings = lookup("linear", name).Config.read(best).to_dict()
    ranking = {"k": args.k, "metrics": args.metrics, "exclude_validation": args.exclude_validation}
    config = RunConfig(
        ranker=RankerConfig(name=name, settings=settings, trials=0),
        training=TrainingConfig.read(ranking),
    )
    ranker, result = run_one(config, None, data)
    return {
        "model": label(args, name),
        "dataset": dataset,
        "seed": None,
        "test": result.test,
        "validation": result.validation,
        "seconds": result.seconds,
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
        values = by_rules(
            evaluate_users,
            ranker,
            data,
            "test",
            args.exclude_validation,
            k=args.k,
            metrics=[metric for metric in args.metrics if metric in USER_METRICS],
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
    args = parse(argv, __doc__)
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
