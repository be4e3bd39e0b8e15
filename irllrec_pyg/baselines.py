"""Rankers without a graph network: what a model must beat before anybody should care for it.

Each is computed in closed form from the training interactions (or from the items' texts) and ranks
like a trained model: ``score``, ``recommend``, :func:`irllrec_pyg.ranking.evaluate`.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import svds
from torch import Tensor
from torch.nn.functional import embedding_bag
from torch_geometric.data import HeteroData

from .edges import EDGE_TYPE
from .nn.conv.weighted_sum_conv import csr, spmm
from .nn.features import text_features
from .nn.graph import InteractionGraph
from .nn.losses import normalize
from .ranking import evaluate
from .ranking.ranker import BLOCK_ENTRIES, Ranker, ranker_arguments


class Baseline(Ranker):
    r"""Base class of the baselines; with :math:`\mathbf{R} \in \{0, 1\}^{U \times I}` the training
    interactions.

    Args:
        data (HeteroData): Data set.
    """

    def __init__(self, data: HeteroData) -> None:
        super().__init__(**ranker_arguments(data))

    def history(self, user: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        r"""Training items of some users as columns of zeros and ones, shape :math:`(I, B)`."""
        row, item = self.seen(user)
        columns = torch.zeros(self.num_items, user.numel(), device=user.device, dtype=dtype)
        columns[item, row] = 1.0
        return columns

    def interactions(self) -> sp.csr_array:
        r"""The matrix :math:`\mathbf{R}`."""
        item, ptr = self.seen_item.cpu().numpy(), self.seen_ptr.cpu().numpy()
        return sp.csr_array((np.ones(len(item)), item, ptr), shape=(self.num_users, self.num_items))

    def degree(self) -> Tensor:
        """Training interactions of each item, floating point."""
        return torch.bincount(self.seen_item, minlength=self.num_items).float()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_users} users, {self.num_items} items)"


class EmbeddingBaseline(Baseline):
    """Scores are dot products of fixed embeddings."""

    users: Tensor
    items: Tensor

    def embed(self) -> tuple[Tensor, Tensor]:
        """The embeddings of users and items."""
        return self.users, self.items

    def score(self, user: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        return self.users[user] @ self.items.t()

    def _set(self, users: Tensor, items: Tensor) -> None:
        self.register_buffer("users", users)
        self.register_buffer("items", items)


class NeighbourBaseline(Baseline):
    r"""Plain sums of similarities to the items that a user has.

    .. math::
        y_{ui} = \sum_{j \in \mathcal{N}(i)} r_{uj} \, s_{ij}

    :math:`\mathcal{N}(i)`: the most similar items of the candidate :math:`i`, itself left out.
    """

    ptr: Tensor
    neighbor: Tensor
    similarity: Tensor

    def score(self, user: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        return (
            csr(self.ptr, self.neighbor, self.similarity)
            @ self.history(user, self.similarity.dtype)
        ).t()

    def _set(self, blocks: Iterator[Tensor], num_neighbors: int) -> None:
        """Takes the rows of the similarities in blocks and keeps the greatest of each row."""
        if num_neighbors < 1:
            raise ValueError(f"'num_neighbors' must be at least 1, got {num_neighbors}.")
        first, parts = 0, []
        for block in blocks:
            own = torch.arange(block.size(0), device=block.device)
            block[own, own + first] = 0.0
            value, neighbor = block.topk(min(num_neighbors, self.num_items))
            row, at = (value > 0).nonzero(as_tuple=True)
            parts.append((row + first, neighbor[row, at], value[row, at]))
            first += block.size(0)
        row, neighbor, value = (torch.cat(part) for part in zip(*parts, strict=True))
        count = torch.bincount(row, minlength=self.num_items)
        self.register_buffer("ptr", torch.cat([count.new_zeros(1), count.cumsum(0)]))
        self.register_buffer("neighbor", neighbor)
        self.register_buffer("similarity", value.float())


class Popularity(EmbeddingBaseline):
    """The same list for everybody: items by their number of training interactions.

    Args:
        data (HeteroData): Data set.
    """

    def __init__(self, data: HeteroData) -> None:
        super().__init__(data)
        degree = self.degree().view(-1, 1)
        self._set(degree.new_ones(self.num_users, 1), degree)


class ItemKNN(NeighbourBaseline):
    r"""Item neighbourhoods, `"Item-Based Top-N Recommendation Algorithms"
    <https://doi.org/10.1145/963770.963776>`_.

    .. math::
        s_{ij} = \frac{|\mathcal{U}_i \cap \mathcal{U}_j|}
        {\sqrt{|\mathcal{U}_i| \, |\mathcal{U}_j|}}

    the cosine of two columns of :math:`\mathbf{R}`; scores are plain sums over the neighbours
    of the candidate that the user has (:class:`NeighbourBaseline`).

    Args:
        data (HeteroData): Data set.
        num_neighbors (int, optional): Neighbours kept of each candidate. (default: ``50``)
    """

    def __init__(self, data: HeteroData, num_neighbors: int = 50) -> None:
        super().__init__(data)
        columns = self.interactions() @ sp.diags_array(inverse_root(self.degree()))
        rows = columns.T.tocsr()
        size = max(1, BLOCK_ENTRIES // self.num_items)
        self._set(
            (
                torch.from_numpy((rows[at : at + size] @ columns).toarray())
                for at in range(0, self.num_items, size)
            ),
            num_neighbors,
        )
        self.to(data[EDGE_TYPE].edge_index.device)


class TextKNN(NeighbourBaseline):
    r"""Item neighbourhoods in the items' texts: :class:`ItemKNN` with

    .. math::
        s_{ij} = \max(\cos(\mathbf{x}_i, \mathbf{x}_j), 0)

    The text-only baseline: of the interactions it knows the user's own items, and nothing of
    other users.

    Args:
        data (HeteroData): Data set with profile embeddings ``x``.
        num_neighbors (int, optional): Neighbours kept of each candidate. (default: ``50``)

    Raises:
        MissingTextError: If the data set has no profile embeddings.
    """

    def __init__(self, data: HeteroData, num_neighbors: int = 50) -> None:
        super().__init__(data)
        x = normalize(text_features(data, "x", sides=["item"]))
        size = max(1, BLOCK_ENTRIES // self.num_items)
        self._set((block @ x.t() for block in x.split(size)), num_neighbors)


class TextProfile(EmbeddingBaseline):
    r"""Cosine of a user's text with an item's text, :math:`y_{ui} = \cos(\mathbf{x}_u,
    \mathbf{x}_i)`.

    Args:
        data (HeteroData): Data set with profile embeddings ``x``.

    Raises:
        MissingTextError: If the data set has no profile embeddings.
    """

    def __init__(self, data: HeteroData) -> None:
        super().__init__(data)
        x = normalize(text_features(data, "x"))
        self._set(x[: self.num_users], x[self.num_users :])


class EASE(Baseline):
    r"""The linear autoencoder from the `"Embarrassingly Shallow Autoencoders for Sparse Data"
    <https://arxiv.org/abs/1905.03375>`_ paper, in closed form.

    .. math::
        \mathbf{P} = (\mathbf{R}^{\top} \mathbf{R} + \lambda \mathbf{I})^{-1}, \qquad
        \mathbf{B} = \mathbf{I} - \mathbf{P} \, \mathrm{diag}(\mathbf{P})^{-1}, \qquad
        \mathbf{Y} = \mathbf{R} \mathbf{B}

    The inverse is dense: it is made in place in float64 and kept in float32, together
    :math:`12 I^2` bytes at the peak (1.5 GB for 11,010 items) and :math:`4 I^2` afterwards.

    Args:
        data (HeteroData): Data set.
        reg (float, optional): :math:`\lambda`. (default: ``50.0``)
    """

    weight: Tensor

    def __init__(self, data: HeteroData, reg: float = 50.0) -> None:
        super().__init__(data)
        if reg <= 0:
            raise ValueError(f"'reg' must be positive, got {reg}.")
        matrix = self.interactions()
        gram = torch.from_numpy((matrix.T @ matrix).toarray()).to(self.seen_item.device)
        gram.diagonal().add_(reg)
        torch.linalg.cholesky(gram, out=gram)
        torch.cholesky_inverse(gram, out=gram)
        gram.div_(-gram.diagonal().clone()).fill_diagonal_(0.0)
        self.register_buffer("weight", gram.float())

    def score(self, user: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        count = self.seen_ptr[user + 1] - self.seen_ptr[user]
        return embedding_bag(self.seen(user)[1], self.weight, count.cumsum(0) - count, mode="sum")


class LinearFilter(Baseline):
    r"""The one-step linear filter of GF-CF, `"How Powerful is Graph Convolution for
    Recommendation?" <https://arxiv.org/abs/2108.07567>`_: two propagations, no training.

    .. math::
        \mathbf{Y} = \mathbf{R} \mathbf{D}_I^{-1/2} \, \tilde{\mathbf{R}}^{\top}
        \tilde{\mathbf{R}} \, \mathbf{D}_I^{1/2}, \qquad
        \tilde{\mathbf{R}} = \mathbf{D}_U^{-1/2} \mathbf{R} \mathbf{D}_I^{-1/2}

    Args:
        data (HeteroData): Data set.
    """

    scale: Tensor

    def __init__(self, data: HeteroData) -> None:
        super().__init__(data)
        self.graph = InteractionGraph.from_data(data)
        self.register_buffer("scale", self.degree().clamp(min=1).sqrt().view(-1, 1))

    def score(self, user: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        adjacency = self.graph.adjacency(self.scale.dtype)
        x = self.scale.new_zeros(self.graph.num_nodes, user.numel())
        x[self.num_users :] = self.history(user, self.scale.dtype) / self.scale
        x = spmm(adjacency, spmm(adjacency, x))  # items to users and back
        return (x[self.num_users :] * self.scale).t()


class LowPassSVD(EmbeddingBaseline):
    r"""The ideal low-pass filter of GF-CF, `"How Powerful is Graph Convolution for
    Recommendation?" <https://arxiv.org/abs/2108.07567>`_.

    .. math::
        \mathbf{Y} = \mathbf{R} \mathbf{D}_I^{-1/2} \, \mathbf{V}_k \mathbf{V}_k^{\top}
        \, \mathbf{D}_I^{1/2}

    with :math:`\mathbf{V}_k` the right singular vectors of :math:`\mathbf{D}_U^{-1/2} \mathbf{R}
    \mathbf{D}_I^{-1/2}` that belong to its :math:`k` greatest singular values.

    Args:
        data (HeteroData): Data set.
        rank (int, optional): Number :math:`k` of singular vectors. (default: ``256``)
    """

    def __init__(self, data: HeteroData, rank: int = 256) -> None:
        super().__init__(data)
        if not 1 <= rank < min(self.num_users, self.num_items):
            raise ValueError(
                f"'rank' must lie between 1 and "
                f"{min(self.num_users, self.num_items) - 1}, got {rank}."
            )
        root = self.degree().clamp(min=1).sqrt().cpu().double().numpy()
        columns = (self.interactions() @ sp.diags_array(1 / root)).tocsr()
        rows = sp.diags_array(inverse_root(self.seen_ptr.diff())) @ columns
        # Always from the same start, so that the same data gives the same vectors.
        start = np.random.default_rng(0).standard_normal(min(rows.shape)).astype(np.float32)
        right = svds(rows.astype(np.float32), k=rank, v0=start)[2].T
        self._set(
            torch.from_numpy((columns @ right).astype(np.float32)),
            torch.from_numpy((root[:, None] * right).astype(np.float32)),
        )
        self.to(data[EDGE_TYPE].edge_index.device)


def inverse_root(degree: Tensor) -> Any:
    r""":math:`d^{-1/2}` in float64, where 0 stays 0."""
    return torch.where(degree > 0, degree.double().rsqrt(), 0.0).cpu().numpy()


BASELINES: dict[str, Any] = {
    "popularity": Popularity,
    "item-knn": ItemKNN,
    "ease": EASE,
    "linear-filter": LinearFilter,
    "low-pass-svd": LowPassSVD,
    "text-knn": TextKNN,
    "text-profile": TextProfile,
}
# The best of a grid on the published validation split (recall@20).
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "item-knn": {name: {"num_neighbors": 50} for name in ("amazon", "yelp", "movie")},
    "ease": {"amazon": {"reg": 50.0}, "yelp": {"reg": 400.0}, "movie": {"reg": 50.0}},
    "low-pass-svd": {"amazon": {"rank": 256}, "yelp": {"rank": 128}, "movie": {"rank": 1024}},
}
# What to choose from on the validation split of any other data set.
GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "item-knn": {"num_neighbors": (20, 50, 100, 200)},
    "text-knn": {"num_neighbors": (20, 50, 100, 200)},
    "ease": {"reg": (20.0, 50.0, 100.0, 200.0, 400.0, 800.0)},
    "low-pass-svd": {"rank": (32, 64, 128, 256, 512)},
}


def build_baseline(
    name: str, data: HeteroData, dataset: str | None = None, **settings: Any
) -> Baseline:
    """Builds a baseline by name.

    Args:
        name (str): ``popularity``, ``item-knn``, ``ease``, ``linear-filter``, ``low-pass-svd``,
            ``text-knn`` or ``text-profile``.
        data (HeteroData): Data set.
        dataset (str, optional): Whose measured settings to take, if there are any.
            (default: ``data.name``)
        **settings: Arguments of the baseline's class, which go before the measured ones.

    Raises:
        ValueError: If there is no such baseline.
        MissingTextError: If it needs texts that the data set lacks.
    """
    if name not in BASELINES:
        raise ValueError(f"Unknown baseline {name!r}; there are {', '.join(BASELINES)}.")
    measured = SETTINGS.get(name, {}).get(str(dataset or data.get("name")), {})
    baseline: Baseline = BASELINES[name](data, **{**measured, **settings})
    return baseline


def choose_settings(name: str, data: HeteroData, monitor: str = "recall@20") -> dict[str, Any]:
    """The settings of a baseline's grid that rank the validation items best.

    Where the data is too small for any rank of the grid, half the greatest possible one is taken.

    Args:
        name (str): As in :func:`build_baseline`.
        data (HeteroData): Data set with validation interactions.
        monitor (str, optional): Metric. (default: ``"recall@20"``)
    """
    grid = dict(GRIDS.get(name, {}))
    metric, top = monitor.split("@")
    if "rank" in grid:
        limit = min(data["user"].num_nodes, data["item"].num_nodes)
        grid["rank"] = tuple(rank for rank in grid["rank"] if rank < limit) or (limit // 2,)
    best: tuple[float, dict[str, Any]] = (-1.0, {})
    for values in product(*grid.values()):
        settings = dict(zip(grid, values, strict=True))
        baseline = build_baseline(name, data, **settings)
        value = evaluate(baseline, data, "val", k=[int(top)], metrics=[metric])[monitor]
        best = max(best, (value, settings), key=lambda pair: pair[0])
    return best[1]
