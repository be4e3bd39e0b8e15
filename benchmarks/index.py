#!/usr/bin/env python3
"""Approximate indices of items against exact lists: what they find, and how fast.

Items are drawn around 256 directions with lengths that differ as those of trained factors do (the
deviation of their logarithm is 0.4); users around the same directions. Of each user 50 items, the
best ones, are hidden, as seen items are: no list may be shorter for it.

    python benchmarks/index.py                                    # 100,000 items, two minutes
    python benchmarks/index.py --items 1000000 --kinds ivf        # a million, two minutes

HNSW of faiss and of usearch are measured where these are installed.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from irllrec_pyg.files import atomic_path
from irllrec_pyg.ranking.index import ItemIndex
from irllrec_pyg.sparse import CSR

Search = Callable[[Tensor, int], Tensor]


def vectors(count: int, width: int, queries: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Items and users."""
    draws = torch.Generator().manual_seed(seed)
    centres = torch.randn(256, width, generator=draws)

    def around(number: int) -> Tensor:
        chosen = torch.randint(256, (number,), generator=draws)
        return centres[chosen] + 0.7 * torch.randn(number, width, generator=draws)

    lengths = torch.exp(0.4 * torch.randn(count, 1, generator=draws))
    return around(count) * lengths, around(queries)


def indices(items: Tensor, kinds: list[str]) -> Iterator[tuple[str, float, Search]]:
    """Each index by name, the seconds that it took to build, and its search."""
    if "ivf" in kinds:
        began = time.perf_counter()
        index = ItemIndex(items)
        seconds = time.perf_counter() - began
        for probes in (16, 64, 256):
            index.config = index.config.replace(probes=probes)
            yield f"ItemIndex, {probes} probes", seconds, lambda q, k: index.search(q, k)[0]
    if "hnsw" in kinds:
        import faiss

        began = time.perf_counter()
        graph = faiss.IndexHNSWFlat(items.size(1), 16, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = 80
        graph.add(items.numpy())
        seconds = time.perf_counter() - began
        for width in (100, 400):
            graph.hnsw.efSearch = width
            name = f"faiss HNSW, {width} candidates"
            yield name, seconds, lambda q, k: torch.from_numpy(graph.search(q.numpy(), k)[1])
    if "usearch" in kinds:
        import numpy as np
        from usearch.index import Index

        began = time.perf_counter()
        other = Index(ndim=items.size(1), metric="ip", dtype="f32", connectivity=16)
        other.add(np.arange(len(items)), items.numpy(), threads=1)
        seconds = time.perf_counter() - began
        for width in (100, 400):
            other.expansion_search = width

            def search(q: Tensor, k: int) -> Tensor:
                keys = other.search(q.numpy(), k, threads=1).keys
                return torch.from_numpy(keys.astype(np.int64))

            yield f"usearch HNSW, {width} candidates", seconds, search


def recall(found: Tensor, best: Tensor) -> float:
    """Share of the best items that were found."""
    return float((found.unsqueeze(2) == best.unsqueeze(1)).any(1).double().mean())


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000, help="number of items")
    parser.add_argument("--width", type=int, default=64, help="width of the vectors")
    parser.add_argument("--queries", type=int, default=500, help="number of users")
    parser.add_argument("--k", type=int, default=20, help="length of the lists")
    parser.add_argument("--kinds", nargs="+", default=["ivf", "hnsw"], help="ivf, hnsw, usearch")
    parser.add_argument("--out", default="benchmarks/results/index", help="folder of the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    items, users = vectors(args.items, args.width, args.queries)
    began = time.perf_counter()
    exact = torch.cat([(part @ items.t()).topk(args.k + 50).indices for part in users.split(16)])
    rows = [
        {
            "index": "exact, by blocks",
            "build_s": 0.0,
            "recall": 1.0,
            "ms_a_user": 1000 * (time.perf_counter() - began) / len(users),
        }
    ]
    best, seen = exact[:, : args.k], exact[:, :50]
    for name, seconds, search in indices(items, args.kinds):
        began = time.perf_counter()
        found = search(users, args.k)
        each = 1000 * (time.perf_counter() - began) / len(users)
        row = {"index": name, "build_s": seconds, "recall": recall(found, best), "ms_a_user": each}
        rows.append(row)
        print(json.dumps(row), flush=True)
    if "ivf" in args.kinds:
        hidden = CSR(torch.arange(len(users) + 1) * 50, seen.sort(1).values.flatten())
        index = ItemIndex(items)
        began = time.perf_counter()
        found, _ = index.search(users, args.k, hidden)
        rows.append(
            {
                "index": "ItemIndex, 64 probes, the 50 best items hidden",
                "build_s": rows[1]["build_s"],
                "recall": recall(found, exact[:, 50:]),
                "ms_a_user": 1000 * (time.perf_counter() - began) / len(users),
            }
        )
        short = int((found < 0).any(1).sum())
        print(json.dumps(rows[-1]), f"lists that are short: {short}", flush=True)
        if short:
            raise SystemExit("Lists are short because of hidden items.")
    table = pd.DataFrame(rows).round({"build_s": 1, "recall": 4, "ms_a_user": 3})
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / f"{args.items}.csv") as path:
        table.to_csv(path, index=False)


if __name__ == "__main__":
    main()
