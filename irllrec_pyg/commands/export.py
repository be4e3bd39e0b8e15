"""Hand a model on to other tools.

    irllrec export runs/shop --to parquet --out shop-tables    ids with vectors, lists
    irllrec export runs/shop --to faiss --out shop-index       an index beside its ids
    irllrec export runs/shop --to onnx --out shop-onnx         MatMul and TopK, for any runtime
    irllrec export runs/shop --to hub --out shop-hub           for huggingface_hub; sends nothing

The folder is there completely or not at all; an older export in it is replaced. It holds the ids
of the data, and but for faiss also whom they belong to: look at the card's licence before.
"""

import argparse
from typing import Any

from ..config import ConfigError
from ..export import FORMATS, export
from .arguments import add_run, positive
from .common import load

#: Options that one format alone has.
ONLY = {"k": "parquet", "exclude": "parquet", "exact": "faiss"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    parser.add_argument(
        "--to",
        required=True,
        choices=list(FORMATS),
        help="; ".join(f"{name}: {said}" for name, (_, _, said) in FORMATS.items()),
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where it goes")
    parser.add_argument("--k", type=positive, help="parquet: length of the lists (default: 20)")
    parser.add_argument(
        "--exclude",
        choices=["known", "train", "none"],
        help="parquet: what is left out of the lists: all that the data set knows of a user, the "
        "training interactions, or nothing (default: known)",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        default=None,
        help="faiss: compare with all items, not only those of the nearest cells",
    )


def run(args: argparse.Namespace) -> int:
    """Writes the folder and says what is in it."""
    options: dict[str, Any] = {}
    for name, only in ONLY.items():
        value = getattr(args, name)
        if value is None:
            continue
        if only != args.to:
            raise ConfigError(f"--{name} is for --to {only}, not for {args.to}.")
        options[name] = None if value == "none" else value
    if args.to == "hub":
        options["source"] = args.run_folder
    manifest = export(load(args.run_folder), args.out, args.to, **options)
    print(f"{args.out}: {', '.join(manifest['files'])}, export.json")
    return 0
