#!/usr/bin/env python3
"""Choose the settings of closed-form models on the validation split of each data set.

    python benchmarks/choose_baselines.py --root data --dataset sample amazon yelp movie

Each value that was tried goes into a file of --out at once, so that a stopped command goes on where
it was; in the end the chosen settings stand in irllrec_pyg/linear/chosen.yaml. A grid widens until
its best value lies inside; where the data set sets a bound instead, the file says so.
"""

import argparse
import json
import warnings
from pathlib import Path

import torch
import yaml

from irllrec_pyg.config import read_yaml
from irllrec_pyg.datasets.config import DataConfig
from irllrec_pyg.files import write_text
from irllrec_pyg.linear import choose_settings

TABLE = Path(__file__).parents[1] / "irllrec_pyg" / "linear" / "chosen.yaml"
MODELS = ("item-knn", "ease", "low-pass-svd", "text-knn")


def main(argv: list[str] | None = None) -> int:
    """Chooses and writes; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", default="data", help="folder of the data sets")
    parser.add_argument("--dataset", nargs="+", default=["sample"], metavar="NAME")
    parser.add_argument("--model", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--monitor", default="recall@20", help="metric (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "baselines")
    parser.add_argument("--table", type=Path, default=TABLE)
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore", UserWarning)  # of published pairs that overlap
    torch.set_num_threads(1)
    for dataset in args.dataset:
        data = DataConfig(name=dataset, root=args.root).open()[0]
        for name in args.model:
            if name == "text-knn" and "x" not in data["item"]:
                continue
            path = args.out / dataset / f"{name}.json"
            tried = json.loads(path.read_text())["tried"] if path.is_file() else []

            def report(row: dict[str, float], tried=tried, path=path) -> None:
                tried.append(row)
                print(path, row, flush=True)
                write_text(path, json.dumps({"tried": tried}, indent=1) + "\n")

            choice = choose_settings(name, data, args.monitor, list(tried), report)
            write_text(path, json.dumps(choice._asdict(), indent=1) + "\n")
            table = read_yaml(args.table) if args.table.is_file() else {}
            for setting, value in choice.settings.items():
                table.setdefault(name, {}).setdefault(setting, {})[dataset] = value
            # A line a setting, as in published.yaml.
            write_text(args.table, yaml.safe_dump(table, sort_keys=False, default_flow_style=None))
            print(dataset, name, choice.settings, choice.note, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
