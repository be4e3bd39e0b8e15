"""Stands in for TableDataset until it is there."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..datasets.interactions import from_interactions
from ..edges import EDGE_TYPE
from ..text.encoders import WordLlamaEncoder


class TableDataset:
    def __init__(
        self,
        root,
        name,
        *,
        k_core=5,
        split="random",
        shares=(0.6, 0.2, 0.2),
        seed=0,
        text=None,
        encoder="wordllama",
        text_rank=None,
    ):
        folder = Path(root, name)
        df = pd.read_csv(folder / "interactions.csv.gz", dtype=str)[
            ["user", "item"]
        ].drop_duplicates()
        while True:
            keep = (df.groupby("user")["item"].transform("size") >= k_core) & (
                df.groupby("item")["user"].transform("size") >= k_core
            )
            if keep.all():
                break
            df = df[keep]
        items = pd.read_csv(folder / "items.csv.gz", dtype=str).fillna("").set_index("item")
        column = text or ("text" if "text" in items else "title")
        ids = sorted(df["item"].unique())
        self.texts = [items[column].get(i, "") for i in ids]
        vectors = _encode(tuple(self.texts))
        if split == "random":
            data = from_interactions(
                df,
                "user",
                "item",
                x=(None, dict(zip(ids, vectors))),
                split=shares,
                seed=seed,
                name=name,
            )
        else:
            side = split.removeprefix("cold-")[:-1]
            data = from_interactions(
                df,
                "user",
                "item",
                x=(None, dict(zip(ids, vectors))),
                split=(1.0, 0.0, 0.0),
                seed=seed,
                name=name,
            )
            n = data[side].num_nodes
            part = torch.zeros(n, dtype=torch.int8)
            order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
            part[order[: n // 5]] = 2
            part[order[n // 5 : 2 * n // 5]] = 1
            e = data[EDGE_TYPE].edge_index
            of = part[e[0 if side == "user" else 1]]
            data[EDGE_TYPE].edge_index = e[:, of == 0]
            data[EDGE_TYPE].val_edge_label_index = e[:, of == 1]
            data[EDGE_TYPE].edge_label_index = e[:, of == 2]
            data[side].split = part
            if side == "user":
                h = []
                for n_ in ("val_edge_label_index", "edge_label_index"):
                    q = data[EDGE_TYPE][n_]
                    c = q[0].bincount(minlength=n)
                    pos = torch.arange(q.size(1)) - (c.cumsum(0) - c)[q[0]]
                    keep = pos < (c[q[0]] + 1) // 2
                    h.append(q[:, keep])
                    data[EDGE_TYPE][n_] = q[:, ~keep]
                data[EDGE_TYPE].history_edge_index = torch.cat(h, 1)
        self.data = data

    def __getitem__(self, i):
        return self.data


_cache = {}


def _encode(texts):
    if texts not in _cache:
        parts = []
        WordLlamaEncoder().encode(list(texts), lambda t, v: parts.append(np.asarray(v)))
        _cache[texts] = np.concatenate(parts)
    return _cache[texts]
