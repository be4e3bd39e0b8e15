#!/usr/bin/env python3
"""New items by their texts against a model that was built with them.

Of a split with cold items nobody has touched a fifth of the items in training. One model is built
with them, as the study's cold rows are; another one never heard of them, and gets them by
``add_items``. Both rank the cold items of test among themselves and among all items.

    python benchmarks/new_items.py --dataset steam --root tables
"""

import argparse
import copy
import json
from pathlib import Path

import pandas as pd
import torch
from fold_in import SMALL, STEAM, builders
from torch import Tensor
from torch_geometric.data import HeteroData

from irllrec_pyg import TableDataset
from irllrec_pyg.edges import EDGE_TYPE, REVERSE_TYPE
from irllrec_pyg.files import atomic_path
from irllrec_pyg.linear import BilinearText, TextIALS, TextMean
from irllrec_pyg.ranking import Ranker, evaluate


def without_items(data: HeteroData, kept: Tensor) -> HeteroData:
    """The training graph of some items alone."""
    out = HeteroData()
    place = torch.full((data["item"].num_nodes,), -1)
    place[kept] = torch.arange(len(kept))
    pairs = data[EDGE_TYPE].edge_index
    pairs = torch.stack([pairs[0], place[pairs[1]]])
    out["user"].num_nodes, out["item"].num_nodes = data["user"].num_nodes, len(kept)
    out["user"].raw_id = copy.copy(data["user"].raw_id)
    out["item"].raw_id = [data["item"].raw_id[at] for at in kept.tolist()]
    out["item"].x = data["item"].x[kept]
    out[EDGE_TYPE].edge_index = pairs
    out[REVERSE_TYPE].edge_index = pairs.flip(0)
    return out


def measured(ranker: Ranker, pairs: Tensor, cold: Tensor) -> dict[str, float]:
    """Of cold items among themselves, and among all."""
    among = evaluate(ranker, pairs, k=20, metrics=("recall",), candidates=cold)
    full = evaluate(ranker, pairs, k=20, metrics=("recall",))
    return {"recall@20": among["recall@20"], "recall@20 full": full["recall@20"]}


def main() -> None:
    """Compares, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="steam", help="a folder of tables")
    parser.add_argument("--root", default="data", help="folder of the data sets")
    parser.add_argument("--seed", type=int, default=1, help="of the split")
    parser.add_argument("--out", default="benchmarks/results/new_items", help="folder of figures")
    args = parser.parse_args()
    data = TableDataset(
        args.root, args.dataset, seed=args.seed, split="cold-items", encoder="wordllama+words"
    )[0]
    settings = STEAM if args.dataset == "steam" else SMALL
    cold = (data["item"].split == 2).nonzero().flatten()
    kept = (data["item"].split != 2).nonzero().flatten()
    ids = [data["item"].raw_id[at] for at in cold.tolist()]
    table = pd.DataFrame({"item": ids, "x": list(data["item"].x[cold].numpy())})
    # In the grown model the new items come last.
    order = torch.empty(data["item"].num_nodes, dtype=torch.long)
    order[torch.cat([kept, cold])] = torch.arange(len(order))
    pairs = data[EDGE_TYPE].edge_label_index
    moved = torch.stack([pairs[0], order[pairs[1]]])
    known = builders(settings, 0)
    models = {
        "text-mean": TextMean,
        "bilinear-text": BilinearText,
        "l3ae": known["l3ae"],
        "text-ials": lambda data: TextIALS(data, **settings["text-ials"]),
        "tale": known["tale"],
    }
    rest, rows = without_items(data, kept), []
    for name, build in models.items():
        grown = build(rest)
        grown.add_items(table)
        for way, ranker, test, items in (
            ("built with them", build(data), pairs, cold),
            ("added", grown, moved, order[cold]),
        ):
            rows.append({"model": name, "new items": way, **measured(ranker, test, items)})
            print(json.dumps(rows[-1]), flush=True)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / f"{args.dataset}.csv") as path:
        pd.DataFrame(rows).round(4).to_csv(path, index=False)


if __name__ == "__main__":
    main()
