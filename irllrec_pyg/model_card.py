"""The card of a model: what it is, what it was made of, what it is worth, what it needs."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from . import __version__
from .datasets.cards import cards
from .ranking import Ranker

RULE = "ranked"  # of a result: among what lists were made, where that is not all items
UNKNOWN = (
    "not stated. Say here whose the data are before you hand the model on: it holds their ids and "
    "interactions"
)


def card(
    ranker: Ranker,
    config: Mapping[str, Any],
    result: Mapping[str, Any],
    origin: Mapping[str, Any],
    has_items: bool,
) -> str:
    """The card as Markdown.

    Args:
        ranker (Ranker): The model.
        config (mapping): Its description, or nothing.
        result (mapping): ``test``, ``validation``, ``seconds`` and perhaps ``ranked``, among what
            lists were made; or nothing.
        origin (mapping): As :func:`irllrec_pyg.provenance.provenance` gives it, or nothing.
        has_items (bool): Whether the table of the items lies beside it.
    """
    data = config.get("data", {})
    lines = [
        "---",
        "library_name: irllrec_pyg",
        "tags: [recommendation, irllrec_pyg]",
        "---",
        f"# {_name(ranker, config)}" + (f" on {data['name']}" if data else ""),
        "",
        "```python",
        "from irllrec_pyg import load_folder",
        "",
        'model = load_folder("FOLDER")',
        "print(model.recommend(k=10))",
        "```",
        "",
        "`irllrec recommend FOLDER --all` is the same without Python.",
        *_data(ranker, data, origin),
        *_metrics(result),
        "",
        "## What it can do alone",
        "",
        "It recommends without data, texts or network: ids, interactions "
        + ("and the table of the items are" if has_items else "are")
        + " in the folder. It cannot go on training or be measured without the data set, nor take "
        "in new items without the encoder of the texts.",
        "",
        "## Made by",
        "",
        f"irllrec_pyg {__version__}, PyTorch {torch.__version__}, Python "
        f"{platform.python_version()}" + _commit(origin) + ".",
    ]
    if config:
        lines += ["", "`irllrec train --config config.yaml --out ANOTHER` makes it again."]
    return "\n".join(lines) + "\n"


def _name(ranker: Ranker, config: Mapping[str, Any]) -> str:
    if "ranker" in config:
        return str(config["ranker"]["name"])
    if "model" in config:
        return "+".join([config["model"]["backbone"]["name"], *config["model"].get("heads", {})])
    return type(ranker).__name__


def _data(ranker: Ranker, data: Mapping[str, Any], origin: Mapping[str, Any]) -> list[str]:
    known, train = len(ranker.known_item), len(ranker.seen_item)
    lines = [
        "",
        "## Data",
        "",
        f"{ranker.num_users:,} users, {ranker.num_items:,} items, {train:,} interactions in "
        f"training, {known:,} with those for validation and test.",
    ]
    if data:
        made = "; ".join(
            f"{name} {value}"
            for name, value in data.items()
            if name in ("k_core", "split", "shares", "seed", "encoder", "text")
            and value not in (None, [])
        )
        lines += ["", f"Made with: {made}."]
    if hashes := origin.get("data"):
        lines += ["", "Hashes: " + ", ".join(f"{k} `{v}`" for k, v in hashes.items()) + "."]
    return [*lines, "", f"Licence of data and texts: {_licence(data)}."]


def _licence(data: Mapping[str, Any]) -> str:
    if data.get("licence"):
        return str(data["licence"]).rstrip(".")
    tables = any(Path(data.get("root", ""), data.get("name", "")).glob("interactions.*"))
    own = None if tables else cards().get(data.get("name", ""))
    stated = dict.fromkeys(file.licence for file in own.files) if own else {}
    return "; ".join(stated) or UNKNOWN


def _metrics(result: Mapping[str, Any]) -> list[str]:
    splits = [split for split in ("validation", "test") if result.get(split)]
    if not splits:
        return []
    lines = [
        "",
        "## Metrics",
        "",
        "| |" + " | ".join(splits) + " |",
        "|---" * (len(splits) + 1) + "|",
    ]
    for name in result[splits[-1]]:
        values = [result[split].get(name, float("nan")) for split in splits]
        lines.append(f"| {name} | " + " | ".join(f"{value:.4f}" for value in values) + " |")
    said = [result.get(RULE), "Settings were chosen on validation, so that test is what counts."]
    return [*lines, "", f"{' '.join(filter(None, said))} Made in {result['seconds']:.0f} seconds."]


def _commit(origin: Mapping[str, Any]) -> str:
    if not origin.get("commit"):
        return ""
    changed = " with changes" if origin.get("dirty") else ""
    return f", commit {origin['commit'][:12]}{changed}"
