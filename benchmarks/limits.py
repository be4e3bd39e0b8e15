"""What the hardware must do at least for one training step, and how fast it can do it.

The estimate counts, from the sizes of the model and of a batch, the operations of matrix products,
the exponentials of contrastive sums, and the bytes that must come from memory if every matrix is
read or written once an operation (rows gathered repeatedly count as cached). Arithmetic of one core
adds up; memory can be read meanwhile: the limit is the longer of the two.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from irllrec_pyg.nn import Recommender
from irllrec_pyg.nn.contrast import WIDE


def work(model: Recommender, user: Tensor, pos: Tensor, neg: Tensor) -> dict[str, float]:
    """Operations, exponentials and bytes of a training step of a published model."""
    backbone, graph = model.backbone, model.backbone.graph
    kind, d = type(backbone).__name__, backbone.embedding_size
    entries, nodes, depth = graph.num_edges, graph.num_nodes, backbone.num_layers
    users, items = model.num_users, model.num_items
    u, p, n = (ids.unique().numel() for ids in (user, pos, neg))
    both = torch.cat([pos, neg]).unique().numel()
    total: Counter[str] = Counter()

    def sparse(count: int, size: int = entries) -> None:
        """Sparse products: 8 bytes of index and 4 of value an entry, a matrix in and one out."""
        total.update(flops=2 * count * size * d, bytes=count * (12 * size + 8 * nodes * d))

    def contrast(rows: int, candidates: int, width: int = d, frozen: bool = False) -> None:
        """One product forward, one for each gradient; one exponential a pair."""
        key = "text_flops" if width >= WIDE else "flops"
        total.update(
            {
                key: (4 if frozen else 6) * rows * candidates * width,
                "exps": rows * candidates,
                "bytes": 12 * (rows + candidates) * width,
            }
        )

    def mlp(module: Any, rows: int, teacher: str = "", inner: bool = False) -> None:
        """Of the input, frozen texts need no gradient; ``inner`` inputs do. A ``"following"``
        teacher has its hidden layer without a product.
        """
        first, second = module[0].weight.numel(), module[2].weight.numel()
        passes = (3 if inner else 2) * first + 3 * second
        if teacher:
            passes = second if teacher == "following" else first + second
        total.update(
            text_flops=2 * rows * passes,
            bytes=4 * rows * (module[0].in_features + module[2].out_features),
        )

    def prototypes(count: int) -> None:
        k = backbone.intents.user.size(1) if backbone.intents is not None else 128
        total.update(flops=12 * count * nodes * d * k, exps=count * nodes * k)

    passes = {"SGL": 3, "SimGCL": 3}.get(kind, 1)
    sparse(2 * depth * passes)
    if kind in ("SGL", "SimGCL"):
        contrast(u, users)
        contrast(both if kind == "SGL" else p, items)
    elif kind == "DCCF":
        sparse(6 * 2 * depth)
        prototypes(depth)
        for _ in range(3 * depth):
            contrast(u, u)
            contrast(p, p)
    elif kind == "BIGCF":
        prototypes(1)
        for rows, candidates in ((u, p), (u, u), (p, p), (u, u), (p, p)):
            contrast(rows, candidates)
    elif kind == "AutoCF":
        sparse(6, 3 * entries)  # the decoder's graph has about three times the entries
        for rows, candidates in ((u, users), (p, items), (u, items)):
            contrast(rows, candidates)
    for head in model.heads.values():
        name = type(head).__name__
        if name == "ProfileReconstruction":
            masked = max(int(nodes * head.mask_ratio), 1)
            mlp(head.mlp, masked, inner=True)
            contrast(masked, masked, head.features.size(1), frozen=True)
            continue
        contrast(u, users)
        contrast(p, p)
        contrast(n, n)
        translates = name == "IntentAlignment" and head.matching is not None
        everything = translates and head.all_nodes
        mlp(head.mlp, nodes if everything else users + both)
        if name == "IntentAlignment":
            sparse(6 * depth)
            prototypes(depth)
        if translates:
            rows = nodes if everything else u + both
            mlp(head.matching.teacher["mlp"], rows, "following" if everything else "separate")
            contrast(rows, rows)
            if head.matching.target == "similarities":  # both directions, student and teacher
                for side in (u, u, both, both):
                    contrast(side, side)
                    total.update(flops=2 * side * side * d, exps=side * side)
    # Adam reads parameter, gradient and two moments, and writes all but the gradient.
    parameters = sum(q.numel() for q in model.parameters() if q.requires_grad)
    total.update(bytes=28 * parameters)
    return {key: float(total[key]) for key in ("flops", "text_flops", "exps", "bytes")}


def limit(load: dict[str, float], rates: dict[str, float], precision: str) -> float:
    """Seconds that a step takes at least."""
    text = rates["bfloat16" if precision == "bf16-mixed" else "float32"]
    arithmetic = (
        load["flops"] / rates["float32"]
        + load["text_flops"] / max(text, rates["float32"])
        + load["exps"] / rates["exponentials"]
    )
    return max(arithmetic, load["bytes"] / rates["bytes"])


def machine_rates(
    device: str, threads: int, clock: Callable[[], float], repeats: int = 20
) -> dict[str, float]:
    """The best of several measurements: operations, exponentials and bytes a second."""
    torch.set_num_threads(threads)
    large = device == "cuda"
    size, long = (8192, 1 << 28) if large else (1536, 1 << 26)

    def best(call: Callable[[], Any], calls: int = 1) -> float:
        seconds = []
        for _ in range(repeats):
            start = clock()
            for _ in range(calls):
                call()
            seconds.append((clock() - start) / calls)
        return min(seconds)

    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        rates[str(dtype).removeprefix("torch.")] = 2 * size**3 / best(partial(torch.mm, a, b))
    block = torch.rand(1 << (26 if large else 18), device=device)
    out = torch.empty_like(block)
    rates["exponentials"] = block.numel() / best(partial(torch.exp2, block, out=out), 50)
    source, target = (torch.zeros(long, device=device) for _ in range(2))
    rates["bytes"] = 8 * long / best(lambda: target.copy_(source))
    return rates
