#!/usr/bin/env python3
"""Whether explanations by intents name a true intent, on the sample set, where these are known.

The sample set says of each user and film which of twelve intents are theirs. A model that has never
seen these is trained; the intents get names by texts, in each form that an owner may have. Of test
pairs that share an intent, the first intent of an explanation is right if user and film have it.

    python benchmarks/intents.py                                  # half a minute
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch_geometric.data import HeteroData

from irllrec_pyg import IRLLRecDataset, Recommender, build_model
from irllrec_pyg.files import atomic_path
from irllrec_pyg.text.encoders import WordLlamaEncoder
from irllrec_pyg.training import fit

SAMPLE = Path(__file__).parents[1] / "datasets" / "sample"


#: How an intent may be worded -> its text by its name and entry in ``intents.json``.
FORMS: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "its name": lambda name, intent: name.replace("_", " "),
    "its description": lambda name, intent: intent["description"],
    "one phrasing": lambda name, intent: intent["wishes"][0],
    "five phrasings": lambda name, intent: ", ".join(intent["wishes"]),
    "five subjects": lambda name, intent: ", ".join(intent["topics"]),
}


def vectors(folder: Path, form: str) -> dict[str, Tensor]:
    """The vector of each intent's text in a form, by its name."""
    intents = json.loads((folder / "intents.json").read_text("utf-8"))
    texts = [FORMS[form](name, intent) for name, intent in intents.items()]
    found = normalize(torch.as_tensor(WordLlamaEncoder().encode(texts)), dim=1)
    return dict(zip(intents, found, strict=True))


def named_rate(
    model: Recommender, data: HeteroData, folder: Path, pairs: int | None = None
) -> tuple[float, float]:
    """How often the first intent of an explanation is a true one, and how often a drawn one is."""
    truth = {}
    for side in ("user", "item"):
        table = pd.read_csv(folder / f"{side}_truth.csv").drop(columns=[side, "circle"])
        truth[side] = table > 0
    right, chance = [], []
    for user, item in data["user", "rates", "item"].edge_label_index.t().tolist():
        shared = truth["user"].loc[user] & truth["item"].loc[item]
        if not shared.any():
            continue
        # Ids are positions here. The other ways to explain are not asked for.
        first = model.explain(user, item, k=1, by="intents").table["reason"].iloc[0]
        right.append(bool(shared[first]))
        chance.append(float(shared.mean()))
        if pairs is not None and len(right) == pairs:
            break
    return float(np.mean(right)), float(np.mean(chance))


def main() -> None:
    """Trains, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="data", help="folder of the data sets")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of training")
    parser.add_argument("--seeds", type=int, default=3, help="models")
    parser.add_argument("--out", default="benchmarks/results/intents", help="folder of the figures")
    args = parser.parse_args()
    data, rows = IRLLRecDataset(args.root, "sample")[0], []
    for seed in range(args.seeds):
        torch.manual_seed(seed)
        model = build_model("lightgcn_int", data, kd_int_weight=0.01)
        fit(model, data, epochs=args.epochs, batch_size=512, progress=False, seed=seed)
        for form in FORMS:
            model.name_intents(vectors(SAMPLE, form))
            rate, chance = named_rate(model, data, SAMPLE)
            rows.append({"seed": seed, "named by": form, "right": rate, "by chance": chance})
            print(json.dumps(rows[-1]), flush=True)
    table = pd.DataFrame(rows).round(4)
    table["times chance"] = (table["right"] / table["by chance"]).round(1)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "sample.csv") as path:
        table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
