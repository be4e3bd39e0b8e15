"""Search for the settings that are best on validation, and train with them.

    irllrec tune --data data/shop --model lightgcn --trials 30 --prune --out runs/tuned
        ranges that the model declares, by Optuna's tree-structured Parzen estimator
    irllrec tune --data amazon --model lightgcn_plus --sampler grid --trials 100
        every combination of the published values, in an order drawn at random

Every trial is kept in the folder as soon as it is finished: a search that was stopped goes on when
the command is given again, and more --trials go on from those that are there. The folder is a run
like others, with the best settings; best.yaml trains them again without a search, tuning.png shows
the trials.
"""

import argparse
from pathlib import Path
from typing import Any

from ..files import atomic_path
from ..model_folder import RESULT_FILE, read_json
from ..runs import OF_RANKERS, RunConfig, is_trained
from ..runs import run as run_one
from ..study.candidates import CHECKPOINT_EVERY
from ..study.config import TUNED_BY
from .arguments import positive
from .common import limit_threads, open_data
from .run_options import add_run_arguments, config_of, folder_of
from .train import metrics

STOPPED, OWN_HELP = "the same command goes on from here", True
PICTURE, BEST = "tuning.png", "best.yaml"
# What a graph model is trained with in a search.
AS_TUNED = {"training.monitor": TUNED_BY, "training.checkpoint_every": CHECKPOINT_EVERY}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.usage = "irllrec tune --data FOLDER [--model NAME] [--trials N] [options] [settings]"
    parser.add_argument(
        "--trials",
        type=positive,
        default=20,
        metavar="N",
        help="settings that are tried, for each part of an ensemble (default: %(default)s)",
    )
    parser.add_argument(
        "--sampler",
        choices=["tpe", "grid"],
        default="tpe",
        help="tpe learns from the trials before; grid takes published values, or some of each "
        "range, in all combinations (default: %(default)s)",
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="stop trials of graph models that fall behind the median of the others",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="no trial begins after so many seconds of trials (default: no limit)",
    )
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Searches, trains with the best settings, and says what was tried."""
    limit_threads(args)
    names = ("trials", "sampler", "prune", "seconds")
    config = config_of(args, {name: getattr(args, name) for name in names})
    folder = folder_of(args, config)
    data, items = open_data(config.data)
    _, result = run_one(config, folder, data, items, progress=not args.quiet)
    searches = read_json(folder / RESULT_FILE)["search"]
    for name, search in searches.items():
        chosen = ", ".join(
            f"{path} = {_short(value)}" for path, value in search["settings"].items()
        )
        print(f"{name}: ndcg@20 {search['value']:.4f} on validation with {chosen or 'defaults'}")
        if search["edges"]:
            print(f"  best at the end of what was tried: {', '.join(search['edges'])}")
    print(metrics(result, data))
    written = ["README.md"]
    if len(searches) == 1:
        best = best_config(args.model, config, next(iter(searches.values()))["settings"])
        best.save(folder / BEST)
        written.append(BEST)
    if draw(searches, folder / PICTURE):
        written.append(PICTURE)
    print(f"{folder}: {', '.join(written)}")
    return 0


def best_config(model: str, config: RunConfig, chosen: dict[str, Any]) -> RunConfig:
    """The run with the settings that were chosen, without a search."""
    own = config.ranker
    assert own is not None
    data = config.data
    if not is_trained(model):
        fixed = own.replace(settings={**own.settings, **chosen}, trials=0)
        return config.replace(ranker=fixed)
    ranking = {f"training.{name}": getattr(config.training, name) for name in OF_RANKERS}
    settings = {**ranking, **AS_TUNED, **own.settings, **chosen, "training.seed": own.seed}
    return RunConfig.of(model, data.name, settings, data.root).replace(data=data)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def draw(searches: dict[str, Any], path: Path) -> bool:
    """Draws the trials: the best value so far, and the value over each setting.

    Args:
        searches (dict): By name, what :class:`irllrec_pyg.study.tuning.Tuning` holds.
        path (Path): The picture.

    Returns:
        Whether matplotlib is there.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    columns = 1 + max(len(search["settings"]) for search in searches.values())
    figure = Figure(figsize=(3.2 * columns, 2.6 * len(searches)), layout="constrained")
    axes = figure.subplots(len(searches), columns, squeeze=False)
    for row, (name, search) in zip(axes, searches.items(), strict=True):
        tried = [trial for trial in search["tried"] if trial["value"] is not None]
        values = [trial["value"] for trial in tried]
        best = [max(values[: at + 1]) for at in range(len(values))]
        row[0].plot(range(1, len(values) + 1), values, "o", ms=4, color="#777777")
        row[0].plot(range(1, len(values) + 1), best, color="#0b6e99")
        row[0].set(title=name, xlabel="trial", ylabel="ndcg@20, validation")
        for axis, setting in zip(row[1:], search["settings"], strict=False):
            at = [trial["settings"][setting] for trial in tried]
            words = not all(isinstance(value, (int, float)) for value in at)
            axis.plot(
                [str(value) for value in at] if words else at, values, "o", ms=4, color="#777777"
            )
            if not words and min(at) > 0 and max(at) > 10 * min(at):
                axis.set_xscale("log")
            axis.set(xlabel=setting)
        for axis in row[1 + len(search["settings"]) :]:
            axis.set_axis_off()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    return True
