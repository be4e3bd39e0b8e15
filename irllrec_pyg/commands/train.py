"""Train a model on a data set.

    irllrec train --data data/shop --out runs/shop
        the model to begin with, 'tale': an ensemble in closed form, with texts where there are any
    irllrec train --data data/shop --model lightgcn_int --epochs 50 --lr 1e-3
        a graph model, with settings by their own name or the published one
    irllrec train --data data/shop --model ease --linear.reg 300 --split time
        a closed form with a setting; another split
    irllrec train --config runs/shop/config.yaml --out runs/again
        the same run again

A run is a folder: config.yaml repeats it, model.safetensors is the model, result.json and users.npz
its metrics, README.md its card. A run that was stopped goes on when the command is given again.
"""

import argparse
import shlex
from pathlib import Path

from torch_geometric.data import HeteroData

from ..config import ConfigError
from ..datasets.tables import find_table
from ..edges import known_pairs
from ..flags import given
from ..held_out import rules
from ..model_folder import RESULT_FILE
from ..runs import RunConfig
from ..runs import run as run_one
from ..training import FitResult
from .common import limit_threads, open_data
from .run_options import add_run_arguments, config_of, folder_of

STOPPED, OWN_HELP = "the same command goes on from here", True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.usage = "irllrec train --data FOLDER [--model NAME] [--out FOLDER] [options] [settings]"
    parser.add_argument(
        "--config", metavar="FILE", help="a run's config.yaml, in the place of other arguments"
    )
    parser.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="settings tried on validation, for each part of an ensemble; 0: defaults (default: 20 "
        "for ensembles and closed forms; a graph model has its settings unless N is given)",
    )
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains, and says what it is worth."""
    limit_threads(args)
    if args.config is not None:
        if args.data or given(args):
            raise ConfigError("--config holds every setting; only --out goes with it.")
        config = RunConfig.load(args.config)
        folder = args.out or Path(args.config).parent
    else:
        config = config_of(args, None if args.trials is None else {"trials": args.trials})
        folder = folder_of(args, config)
    return train(config, folder, args.quiet)


def train(config: RunConfig, folder: Path, quiet: bool) -> int:
    """Trains a run, unless the folder holds it, and says on what, and what it is worth."""
    data, items = open_data(config.data)
    print(size(config, data))
    result_file = folder / RESULT_FILE
    before = result_file.stat().st_mtime_ns if result_file.exists() else None
    _, result = run_one(config, folder, data, items, progress=not quiet)
    if result_file.stat().st_mtime_ns == before:
        print(f"{folder} held this run already; nothing was trained.")
    print(metrics(result, data))
    place = shlex.quote(str(folder))
    print(f"{folder}: README.md is its card. Lists: irllrec recommend {place} --all --k 10")
    return 0


def size(config: RunConfig, data: HeteroData) -> str:
    """Of how many users and items a data set is, and whom it leaves out."""
    known = known_pairs(data).size(1)
    text = (
        f"{config.data.name}: {data['user'].num_nodes} users, {data['item'].num_nodes} items, "
        f"{known} interactions"
    )
    core = config.data.k_core
    if not core or find_table(Path(config.data.root, config.data.name), "interactions") is None:
        return f"{text}."
    return f"{text}; who has fewer than {core} is left out (--k-core 0 takes everybody)."


def metrics(result: FitResult, data: HeteroData) -> str:
    """Validation and test side by side, and how they were ranked where that is not as usual."""
    if not result.test and not result.validation:
        return "Every interaction is in training: nothing is held out to measure by."
    nan = float("nan")
    width = max(map(len, result.test or result.validation), default=0)
    lines = [f"{'':{width}}  validation    test"]
    for name in result.test or result.validation:
        before, value = (part.get(name, nan) for part in (result.validation, result.test))
        lines.append(f"{name:{width}}  {before:10.4f}  {value:.4f}")
    return "\n".join([*lines, *filter(None, [rules(data)])])
