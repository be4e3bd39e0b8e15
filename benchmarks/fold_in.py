#!/usr/bin/env python3
"""New users by their histories against a model that was trained with them.

Users are held out whole: the model that folds them in saw none of their interactions, and ranks for
them by their training items; the other one was trained with these, too. Both look for the same test
items among all items but the training items.

    python benchmarks/fold_in.py                                  # the sample set, a minute
    python benchmarks/fold_in.py --dataset steam --root tables --users 1000
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from irllrec_pyg import IRLLRecDataset, Recommender, TableDataset
from irllrec_pyg.edges import EDGE_TYPE, REVERSE_TYPE
from irllrec_pyg.files import atomic_path
from irllrec_pyg.linear import GFCF, L3AE, Popularity, TextIALS, TextMean
from irllrec_pyg.ranking import Blend, Ranker, evaluate
from irllrec_pyg.training import fit

# For the tables of Steam: best on the validation items of split 0 in the study of texts.
STEAM = {
    "l3ae": {"reg": 5582.0, "text_weight": 0.183, "text_reg": 22.7},
    "text-ials": {
        **{"reg": 0.0679, "unobserved": 0.00602, "text_reg": 0.0792, "text_weight": 0.13},
        **{"dim": 128, "num_steps": 10},
    },
    "gf-cf": {
        **{"rank": 36, "low_pass_weight": 0.854, "history_exponent": 1.376},
        **{"user_exponent": 0.895, "item_exponent": 0.476},
    },
    "tale": {"weights": (0.383, 0.902, 0.367, 0.934)},
}
SMALL = {"gf-cf": {"rank": 32}, "text-ials": {"dim": 32, "num_steps": 10}}


def builders(settings: dict, epochs: int) -> dict[str, Callable[[HeteroData], Ranker]]:
    """What makes each model from a data set."""

    def l3ae(data: HeteroData) -> Ranker:
        return L3AE(data, **settings.get("l3ae", {}))

    def tale(data: HeteroData) -> Ranker:
        parts = (
            l3ae(data),
            TextIALS(data, **settings.get("text-ials", {})),
            GFCF(data, **settings.get("gf-cf", {})),
            TextMean(data),
        )
        return Blend(*parts, **settings.get("tale", {}))

    def lightgcn(data: HeteroData) -> Ranker:
        torch.manual_seed(0)
        model = Recommender.from_config(
            {
                "backbone": {"name": "lightgcn", "embedding_size": 64, "num_layers": 2},
                "ranking_loss": {"name": "softmax-all", "similarity": "dot", "temperature": 1.0},
                "reg_weight": 1e-6,
            },
            data,
        )
        own = {"lr": 5e-3, "batch_size": 2048, "eval_every": 5, "patience": 2}
        fit(model, data, epochs=epochs, progress=False, **own)
        return model

    return {"tale": tale, "l3ae": l3ae, "lightgcn": lightgcn, "popularity": Popularity}


def without(data: HeteroData, users: Tensor) -> HeteroData:
    """The data set without any interaction of some users, who stay as nodes."""
    out = copy.copy(data)
    for name, value in data[EDGE_TYPE].items():
        if isinstance(value, Tensor) and name.endswith("index"):
            out[EDGE_TYPE][name] = value[:, ~torch.isin(value[0], users)]
    if REVERSE_TYPE in out.edge_types:
        out[REVERSE_TYPE].edge_index = out[EDGE_TYPE].edge_index.flip(0)
    return out


def of_users(pairs: Tensor, users: Tensor) -> Tensor:
    """Pairs of some users, who are numbered by their place among them."""
    pairs = pairs[:, torch.isin(pairs[0], users)]
    return torch.stack([torch.searchsorted(users, pairs[0]), pairs[1]])


def compare(data: HeteroData, count: int, settings: dict, epochs: int, seed: int) -> pd.DataFrame:
    """One row for each model and each way to rank for the users."""
    edges = data[EDGE_TYPE]
    able = edges.edge_label_index[0].unique()
    draws = torch.Generator().manual_seed(seed)
    users = able[torch.randperm(len(able), generator=draws)[:count]].sort().values
    test = of_users(edges.edge_label_index, users)
    train = of_users(edges.edge_index, users)
    ids = data["item"].get("raw_id") or list(range(data["item"].num_nodes))
    history = pd.DataFrame({"user": train[0], "item": [ids[at] for at in train[1].tolist()]})
    # People are numbered in the order in which the table names them.
    labels = pd.factorize(history["user"])[1]
    place = torch.empty(len(users), dtype=torch.long)
    place[torch.tensor(labels.tolist())] = torch.arange(len(labels))
    theirs = torch.stack([place[test[0]], test[1]])
    rest, rows = without(data, users), []
    for name, build in builders(settings, epochs).items():
        began = time.perf_counter()
        known, unknown = build(data), build(rest)
        seconds = time.perf_counter() - began
        own = edges.edge_label_index[:, torch.isin(edges.edge_label_index[0], users)]
        for way, ranker, pairs in (
            ("trained with them", known, own),
            ("trained with them, folded in", known.of(history), theirs),
            ("trained without them, folded in", unknown.of(history), theirs),
        ):
            found = evaluate(ranker, pairs, k=20)
            rows.append({"model": name, "users": way, **found, "seconds": round(seconds, 1)})
            print(json.dumps(rows[-1]), flush=True)
    return pd.DataFrame(rows)


def page(table: pd.DataFrame, command: str, data: str) -> str:
    """The figures in Markdown."""
    head = "| model | users | recall@20 | ndcg@20 | of the former |\n|---|---|---:|---:|---:|\n"
    lines = []
    for row in table.to_dict("records"):
        own = table[(table["model"] == row["model"]) & (table["users"] == "trained with them")]
        share = row["recall@20"] / float(own["recall@20"].iloc[0])
        lines.append(
            f"| {row['model']} | {row['users']} | {row['recall@20']:.4f} | {row['ndcg@20']:.4f} | "
            f"{100 * share:.1f} % |"
        )
    return f"## {data}\n\n`{command}`\n\n{head}" + "\n".join(lines) + "\n"


def main() -> None:
    """Compares, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="sample", help="the sample set, or a folder of tables")
    parser.add_argument("--root", default="data", help="folder of the data sets")
    parser.add_argument("--users", type=int, default=150, help="users who are held out")
    parser.add_argument("--epochs", type=int, default=30, help="of LightGCN at most")
    parser.add_argument("--seed", type=int, default=1, help="of the split and of the users")
    parser.add_argument("--out", default="benchmarks/results/fold_in", help="folder of the figures")
    args = parser.parse_args()
    if args.dataset == "sample":
        data, settings = IRLLRecDataset(args.root, "sample")[0], SMALL
    else:
        encoder = "wordllama+words"
        data = TableDataset(args.root, args.dataset, seed=args.seed, encoder=encoder)[0]
        settings = STEAM if args.dataset == "steam" else SMALL
    table = compare(data, args.users, settings, args.epochs, args.seed)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/fold_in.py --dataset {args.dataset} --users {args.users}"
    with atomic_path(out / f"{args.dataset}.csv") as path:
        table.to_csv(path, index=False)
    with atomic_path(out / f"{args.dataset}.md") as path:
        path.write_text(
            page(table, command, f"`{args.dataset}`, {args.users} users"), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
