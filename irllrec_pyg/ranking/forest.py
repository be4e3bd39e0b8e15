"""Boosted trees of a fixed depth, kept as plain tensors."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from lightgbm import Booster

DEPTH = 4  # splits from the root to a leaf
INNER, LEAVES = 2**DEPTH - 1, 2**DEPTH
CELLS = 1 << 20  # trees times rows that are walked through at once


class Forest(torch.nn.Module):
    r"""The sum of binary trees that are complete: the children of node :math:`n` are
    :math:`2n + 1` and :math:`2n + 2`. So there is nothing in a file that could send a walk through
    a tree anywhere else, and ranking does not need the library that grew the trees.

    Args:
        feature (Tensor): The feature that each inner node looks at, int64 of shape
            :math:`(T, 15)`.
        threshold (Tensor): What it is compared with, float64 of shape :math:`(T, 15)`: a row goes
            left where its feature is at most that.
        value (Tensor): What each leaf adds, float64 of shape :math:`(T, 16)`.
        width (int): Number of features.

    Raises:
        ValueError: If these are no such trees.
    """

    feature: Tensor
    threshold: Tensor
    value: Tensor

    def __init__(self, feature: Tensor, threshold: Tensor, value: Tensor, *, width: int) -> None:
        super().__init__()
        self.width = width
        wanted = {
            "feature": (feature, torch.int64, INNER),
            "threshold": (threshold, torch.float64, INNER),
            "value": (value, torch.float64, LEAVES),
        }
        for name, (tensor, dtype, size) in wanted.items():
            if tensor.dtype != dtype or tensor.dim() != 2 or tensor.size(1) != size:
                raise ValueError(
                    f"{name!r} of trees must be {dtype} of shape (T, {size}), got {tensor.dtype} "
                    f"of shape {tuple(tensor.shape)}"
                )
            if tensor.size(0) != feature.size(0):
                raise ValueError(f"{name!r} is of another number of trees than 'feature'")
            self.register_buffer(name, tensor.contiguous())
        if feature.numel() and not 0 <= int(feature.min()) <= int(feature.max()) < width:
            raise ValueError(f"trees look at features that are not among {width}")

    @classmethod
    def empty(cls, width: int) -> Self:
        """No tree at all."""
        none = torch.empty(0, INNER, dtype=torch.float64)
        return cls(none.long(), none, none.new_empty(0, LEAVES), width=width)

    def __len__(self) -> int:
        """How many trees there are."""
        return self.feature.size(0)

    def first(self, count: int) -> Self:
        """The first trees alone."""
        tensors = (self.feature, self.threshold, self.value)
        return type(self)(*(tensor[:count] for tensor in tensors), width=self.width)

    def forward(self, x: Tensor) -> Tensor:
        r"""The sum of all trees.

        Args:
            x (Tensor): Features, of shape :math:`(n, F)`, no NaN among them.

        Returns:
            float64 tensor of shape :math:`(n,)`.
        """
        return self.steps(x, [len(self)])[0]

    def steps(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        r"""The sums of the first trees, for ascending numbers of them; float64 of shape
        :math:`(c, n)`.
        """
        x = x.double().t().contiguous()
        row = torch.arange(x.size(1), device=x.device)
        total, sums = x.new_zeros(x.size(1)), []
        at_once = max(1, CELLS // max(1, x.size(1)))
        for done, count in pairwise([0, *(min(count, len(self)) for count in counts)]):
            for first in range(done, count, at_once):
                trees = slice(first, min(first + at_once, count))
                feature, threshold = self.feature[trees], self.threshold[trees]
                node = row.new_zeros(feature.size(0), x.size(1))
                for _ in range(DEPTH):
                    right = x[feature.gather(1, node), row] > threshold.gather(1, node)
                    node = 2 * node + 1 + right
                # One by one: rows that end at the same leaves have the same sum, however many
                # rows there are.
                for leaf in self.value[trees].gather(1, node - INNER):
                    total += leaf
            sums.append(total.clone())
        return torch.stack(sums)


def library() -> Any:
    """LightGBM.

    Raises:
        ImportError: Without ``pip install 'irllrec_pyg[rerank]'``.
    """
    try:
        import lightgbm
    except (ImportError, OSError) as error:  # it is there, and a library that it loads is not
        raise ImportError(
            f"Growing trees needs LightGBM: pip install 'irllrec_pyg[rerank]' ({error})."
        ) from error
    return lightgbm


def grow(
    x: NDArray[np.float32], relevant: NDArray[np.bool_], rounds: int, **settings: Any
) -> Forest:
    r"""Grows trees by LambdaMART, `"From RankNet to LambdaRank to LambdaMART: An Overview"
    <https://www.microsoft.com/en-us/research/publication/
    from-ranknet-to-lambdarank-to-lambdamart-an-overview/>`_ (Burges, MSR-TR-2010-82), as LightGBM
    has it.

    Args:
        x (ndarray): Features of the items of each list, float32 of shape :math:`(n, K, F)`.
        relevant (ndarray): Whether each is relevant, bool of shape :math:`(n, K)`; lists without
            one teach nothing.
        rounds (int): Number of trees.
        **settings: Of LightGBM.

    Raises:
        ImportError: Without ``pip install 'irllrec_pyg[rerank]'``.
    """
    teaches = relevant.any(1)
    x, relevant = x[teaches], relevant[teaches]
    lists, length, width = x.shape
    if not lists or not rounds:
        return Forest.empty(width)
    lightgbm = library()
    table = lightgbm.Dataset(
        x.reshape(-1, width), label=relevant.ravel(), group=np.full(lists, length)
    )
    fixed = {
        "objective": "lambdarank",
        "max_depth": DEPTH,
        "num_leaves": LEAVES,
        "label_gain": [0, 1],
        "num_threads": torch.get_num_threads(),
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    return from_booster(lightgbm.train({**fixed, **settings}, table, rounds), width)


def from_booster(booster: "Booster", width: int) -> Forest:
    """The forest of LightGBM's trees, none of which is deeper than four."""
    trees = booster.dump_model()["tree_info"]
    feature = np.zeros((len(trees), INNER), dtype=np.int64)
    threshold = np.zeros((len(trees), INNER))
    value = np.zeros((len(trees), LEAVES))

    def place(tree: int, at: int, node: Mapping[str, Any]) -> None:
        if at >= INNER:
            value[tree, at - INNER] = node["leaf_value"]
            return
        if "leaf_value" not in node:
            feature[tree, at], threshold[tree, at] = node["split_feature"], node["threshold"]
        # A leaf above the last level is repeated below, so that every way down ends at it.
        place(tree, 2 * at + 1, node.get("left_child", node))
        place(tree, 2 * at + 2, node.get("right_child", node))

    for tree, info in enumerate(trees):
        place(tree, 0, info["tree_structure"])
    return Forest(*map(torch.from_numpy, (feature, threshold, value)), width=width)
