"""What runs are worth on held-out interactions, beside baselines.

    irllrec evaluate runs/shop runs/lightgcn --baselines
    irllrec evaluate runs/shop --split validation --k 1 5 --metrics hit mrr coverage --out table.csv

The data set of a run is opened where its config.yaml says, from the folder in which it was trained.
All items are ranked but a user's training items. Of a data set with cold items these are ranked
among themselves; of one with cold users lists are made by their histories.
"""

import argparse
import sys
import time
from pathlib import Path

import pandas as pd
from torch_geometric.data import HeteroData
from tqdm import tqdm

from ..config import ConfigError
from ..datasets.config import DataConfig
from ..held_out import by_rules, rules
from ..linear import build_linear, choose_settings
from ..model_folder import RESULT_FILE, read_json
from ..ranking import Ranker, evaluate
from ..registry import names
from ..training.module import has_pairs
from .arguments import RUN_HELP, add_out, add_threads, check_out
from .common import add_metrics, data_of, limit_threads, load, open_data, show

BASELINES = ["popularity", "item-knn", "ease"]
SPLITS = {"validation": "val", "test": "test"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("run_folder", nargs="+", metavar="RUN", help=RUN_HELP)
    parser.add_argument(
        "--split", choices=list(SPLITS), default="test", help="default: %(default)s"
    )
    parser.add_argument(
        "--baselines",
        nargs="*",
        choices=names("linear"),
        metavar="NAME",
        help=f"closed forms to stand beside, with settings chosen on validation; without names: "
        f"{', '.join(BASELINES)}",
    )
    add_metrics(parser)
    parser.add_argument("--data", metavar="FOLDER", help="where the data set lies now")
    add_out(parser)
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    """Prints or writes one row a model."""
    check_out(args.out)
    limit_threads(args)
    by_data: dict[DataConfig, list[str]] = {}
    for folder in args.run_folder:
        by_data.setdefault(data_of(folder, args.data), []).append(folder)
    rows = []
    for config, folders in by_data.items():
        graph, _ = open_data(config)
        if not has_pairs(graph, SPLITS[args.split]):
            raise ConfigError(
                f"{folders[0]}: its data set holds nothing out for {args.split}, so there is "
                "nothing to measure by. Of a model that was refitted on everything, evaluate the "
                "run that it was made from."
            )
        if said := rules(graph):
            print(said, file=sys.stderr)
        wanted = args.baselines if args.baselines or args.baselines is None else BASELINES
        bar = tqdm(wanted or [], desc=f"baselines on {config.name}", disable=not wanted)
        for name in bar:
            begin = time.perf_counter()
            settings = choose_settings(name, graph).settings
            ranker = build_linear(name, graph, "", **settings)
            seconds = time.perf_counter() - begin
            found = _metrics(ranker, graph, args)
            rows.append({"data": config.name, "model": name, **found, "seconds": f"{seconds:.1f}"})
        for folder in folders:
            found = _metrics(load(folder), graph, args)
            seconds = _seconds(Path(folder, RESULT_FILE))
            name = str(Path(folder))
            rows.append({"data": config.name, "model": name, **found, "seconds": f"{seconds:.1f}"})
    show(pd.DataFrame(rows), args.out)
    return 0


def _seconds(path: Path) -> float:
    """How long the training took, where that is known still."""
    return float(read_json(path, ["seconds"])["seconds"]) if path.exists() else float("nan")


def _metrics(ranker: Ranker, data: HeteroData, args: argparse.Namespace) -> dict[str, float]:
    return by_rules(
        evaluate,
        ranker,
        data,
        SPLITS[args.split],
        args.exclude_validation,
        k=args.k,
        metrics=args.metrics,
    )
