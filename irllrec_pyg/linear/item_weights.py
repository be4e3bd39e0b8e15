"""What linear autoencoders share: a dense matrix of weights from item to item."""

from typing import ClassVar

import psutil  # type: ignore[import-untyped]
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..ranking.ranker import Similarity
from ..sparse import multiply
from .base import LinearModel

BYTES = 12  # of a place of the matrix at the peak: float64, and its copy in float32
BLOCK = 1024  # rows of weights that are compared at once
ROWS = 1 << 24  # places of the Gram matrix that are made at once


class ItemWeights(LinearModel):
    r"""Base class of models :math:`\mathbf{Y} = \mathbf{R} \mathbf{B}` with a dense matrix
    :math:`\mathbf{B}` of shape :math:`(I, I)`.

    The matrix is computed in place in float64 and kept in float32: :math:`12 I^2` bytes at the peak
    (1.5 GB for 11,010 items) and :math:`4 I^2` afterwards.

    Raises:
        MemoryError: If so much is not available.
    """

    layout: ClassVar = {"weight": "I I"}
    weight: Tensor

    def fit(self, data: HeteroData) -> None:
        """Computes the weights, if there is memory for them."""
        self.check_memory()
        self.keep(weight=self.weights(data))

    def weights(self, data: HeteroData) -> Tensor:
        r"""The matrix :math:`\mathbf{B}`, float64 of shape :math:`(I, I)`."""
        raise NotImplementedError

    def predict(self, history: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        return multiply(history, self.weight)

    def item_similarity(self) -> Similarity:
        r"""Cosines of the rows of :math:`\mathbf{I} + \mathbf{B}`: of what the items suggest."""

        def rows(item: Tensor) -> Tensor:
            out = self.weight[item]
            out[torch.arange(len(item), device=out.device), item] += 1.0
            return torch.nn.functional.normalize(out, dim=1)

        def similarity(item: Tensor, others: Tensor | None) -> Tensor:
            if others is None:
                others = torch.arange(self.num_items, device=item.device)
            own = rows(item)
            return torch.cat([own @ rows(part).t() for part in others.split(BLOCK)], 1)

        return similarity

    def check_memory(self) -> None:
        """Checks that the computation fits into memory.

        Raises:
            MemoryError: If it does not.
        """
        needed, device = BYTES * self.num_items**2, self.seen_ptr.device
        free = psutil.virtual_memory().available
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
        if needed > free:
            raise MemoryError(
                f"{type(self).__name__} needs {needed / 1e9:.1f} GB of memory for the weights "
                f"between {self.num_items} items, and {free / 1e9:.1f} GB are available; "
                "'low-rank-ease' is for catalogues of this size, and 'bilinear-text' with texts."
            )

    def gram(self) -> Tensor:
        r"""The matrix :math:`\mathbf{G} = \mathbf{R}^{\top} \mathbf{R}`, float64."""
        matrix, size = self.interactions(), self.num_items
        rows = matrix.T.tocsr()
        gram = torch.empty(size, size, dtype=torch.float64, device=self.seen_ptr.device)
        step = max(1, ROWS // size)  # the whole sparse product may be larger than the dense one
        for at in range(0, size, step):
            gram[at : at + step] = torch.from_numpy((rows[at : at + step] @ matrix).toarray())
        return gram


def inverse_(matrix: Tensor) -> Tensor:
    """The inverse of a symmetric positive definite matrix, in its memory."""
    torch.linalg.cholesky(matrix, out=matrix)
    torch.cholesky_inverse(matrix, out=matrix)
    return matrix
