"""Item neighbourhoods, by interactions and by texts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..nn.conv.weighted_sum_conv import csr
from ..nn.features import text_features
from ..nn.losses import normalize
from ..ranking.ranker import Similarity
from ..ranking.topk import topk
from ..registry import register
from ..sparse import check_csr, expand, pointers
from .base import LinearModel, inverse_root, is_float


class NeighbourModel(LinearModel):
    r"""Plain sums of similarities to the items that a user has.

    .. math::
        y_{ui} = \sum_{j \in \mathcal{N}(i)} r_{uj} \, s_{ij}

    :math:`\mathcal{N}(i)`: the most similar items of the candidate :math:`i`, itself left out;
    of equally similar ones the lower item.
    """

    class Config(LinearModel.Config):
        num_neighbors: int = field(
            50, ge=1, search=(10, 320), log=True, help="neighbours kept of each candidate"
        )

    is_nested = True
    layout: ClassVar = {"ptr": "", "neighbor": "", "similarity": ""}
    ptr: Tensor
    neighbor: Tensor
    similarity: Tensor

    def fit(self, data: HeteroData) -> None:
        """Keeps the best neighbours of each item."""
        first, parts = 0, []
        for block in self.similarities(data):
            own = torch.arange(block.size(0), device=block.device)
            block[own, own + first] = 0.0
            value, neighbor = topk([block], min(self.config.num_neighbors, self.num_items))
            row, at = (value > 0).nonzero(as_tuple=True)
            parts.append((row + first, neighbor[row, at], value[row, at]))
            first += block.size(0)
        row, neighbor, value = (torch.cat(part) for part in zip(*parts, strict=True))
        self._set(row, neighbor, value.float())

    @classmethod
    def check_parts(cls, parts: Mapping[str, Tensor], sizes: dict[str, Any]) -> None:
        """Checks sparse similarities of a file.

        Raises:
            ValueError: If they are none.
        """
        ptr, neighbor, similarity = (parts.get(name) for name in cls.layout)
        check_csr("ptr", ptr, "neighbor", neighbor, sizes["I"], sizes["I"])
        if (
            len(parts) > 3
            or similarity is None
            or similarity.shape != parts["neighbor"].shape
            or not is_float(similarity)
        ):
            raise ValueError("'similarity' must hold a number for each neighbour")

    def similarities(self, data: HeteroData) -> Iterator[Tensor]:
        r"""The rows of :math:`s`, of shape :math:`(I, I)`, in blocks that may be changed."""
        raise NotImplementedError

    @classmethod
    def limits(cls, data: HeteroData) -> dict[str, int]:
        """An item has all other items as neighbours at most."""
        return {"num_neighbors": max(1, data["item"].num_nodes - 1)}

    def truncated(self, **settings: Any) -> Self:
        """The model with fewer neighbours."""
        twin = self._twin(**settings)
        row = expand(self.ptr, self.neighbor.numel())
        place = torch.arange(row.numel(), device=row.device) - self.ptr[row]  # best ones first
        kept = place < twin.config.num_neighbors
        twin._set(row[kept], self.neighbor[kept], self.similarity[kept])
        return twin

    def predict(self, history: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        matrix = csr(self.ptr, self.neighbor, self.similarity)
        return (matrix @ history.to_dense().t().to(matrix.dtype)).t()

    def item_similarity(self) -> Similarity:
        """The similarities that are kept, of an item's neighbours or of those whose neighbour it
        is; minus infinity for others.
        """
        row = expand(self.ptr, self.neighbor.numel())

        def similarity(item: Tensor, others: Tensor | None) -> Tensor:
            out = self.similarity.new_full((item.numel(), self.num_items), -torch.inf)
            for at, one in enumerate(item.tolist()):
                near = self.ptr[one], self.ptr[one + 1]
                out[at, self.neighbor[near[0] : near[1]]] = self.similarity[near[0] : near[1]]
                back = self.neighbor == one
                out[at, row[back]] = self.similarity[back]
            return out if others is None else out[:, others]

        return similarity

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds items without neighbours."""
        self.register_buffer("ptr", torch.cat([self.ptr, self.ptr[-1:].expand(len(ids))]))
        super().grow(ids, texts)

    def _set(self, row: Tensor, neighbor: Tensor, value: Tensor) -> None:
        self.register_buffer("ptr", pointers(row, self.num_items))
        self.register_buffer("neighbor", neighbor)
        self.register_buffer("similarity", value)


@register("item-knn")
class ItemKNN(NeighbourModel):
    r"""Item neighbourhoods, `"Item-Based Top-N Recommendation Algorithms"
    <https://doi.org/10.1145/963770.963776>`_.

    .. math::
        s_{ij} = \frac{|\mathcal{U}_i \cap \mathcal{U}_j|}
        {\sqrt{|\mathcal{U}_i| \, |\mathcal{U}_j|}}

    the cosine of two columns of :math:`\mathbf{R}`; scores are plain sums over the neighbours
    of the candidate that the user has (:class:`NeighbourModel`).
    """

    def similarities(self, data: HeteroData) -> Iterator[Tensor]:
        """Cosines of the columns of the interactions."""
        columns = self.interactions() @ sp.diags_array(inverse_root(self.degree()))
        rows, size = columns.T.tocsr(), self.block_size()
        for at in range(0, self.num_items, size):
            yield torch.from_numpy((rows[at : at + size] @ columns).toarray())


@register("text-knn")
class TextKNN(NeighbourModel):
    r"""Item neighbourhoods in the items' texts: :class:`ItemKNN` with

    .. math::
        s_{ij} = \max(\cos(\mathbf{x}_i, \mathbf{x}_j), 0)

    The text-only baseline: of the interactions it knows the user's own items, and nothing of
    other users.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x``.
    """

    def similarities(self, data: HeteroData) -> Iterator[Tensor]:
        """Cosines of the items' texts."""
        x = normalize(text_features(data, "x", sides=["item"]))
        for block in x.split(self.block_size()):
            yield block @ x.t()
