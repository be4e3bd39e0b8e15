"""EASE for large catalogues, of low rank."""

import numpy as np
import torch
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from ..sparse import singular_vectors
from .base import FactorModel
from .low_pass import LowRankModel


@register("low-rank-ease")
class LowRankEASE(LowRankModel, FactorModel):
    r""":class:`EASE` for catalogues whose :math:`I \times I` weights do not fit into memory:
    :math:`\mathbf{R}^{\top} \mathbf{R}` is taken as a matrix of rank :math:`k` and a diagonal.

    With :math:`\mathbf{s}` and :math:`\mathbf{V}` the :math:`k` greatest singular values and right
    vectors of :math:`\mathbf{R}`, and :math:`\mathbf{S} = \mathrm{diag}(\mathbf{s})`,

    .. math::
        \mathbf{R}^{\top} \mathbf{R} + \lambda \mathbf{I} \approx \mathbf{V} \mathbf{S}^2
        \mathbf{V}^{\top} + \boldsymbol\Delta, \qquad
        \boldsymbol\Delta = \lambda \mathbf{I} + \mathrm{diag}(\mathbf{R}^{\top} \mathbf{R} -
        \mathbf{V} \mathbf{S}^2 \mathbf{V}^{\top})

    Woodbury's identity inverts that with matrices of :math:`k \times k`,

    .. math::
        \mathbf{P} = \boldsymbol\Delta^{-1} - \mathbf{L} \mathbf{K} \mathbf{L}^{\top}, \qquad
        \mathbf{L} = \boldsymbol\Delta^{-1} \mathbf{V}, \qquad
        \mathbf{K} = (\mathbf{S}^{-2} + \mathbf{V}^{\top} \mathbf{L})^{-1}

    and off the diagonal EASE's weights are :math:`B_{ij} = (\mathbf{L} \mathbf{K}
    \mathbf{L}^{\top})_{ij} / P_{jj}`. The product's diagonal stays; it changes the scores of a
    user's own items alone, which are never ranked. With all singular vectors it is EASE. Memory
    is some :math:`4 I k` numbers.
    """

    class Config(LowRankModel.Config):
        reg: float = field(
            50.0, gt=0, search=(5.0, 400.0), log=True, help="weight of the ridge, lambda"
        )

    def fit(self, data: HeteroData) -> None:
        """Finds the singular vectors, and inverts."""
        matrix = self.interactions().astype(np.float32)
        _, value, right = (x.double() for x in singular_vectors(matrix, self.config.rank))
        square = value.square()
        rest = self.degree().cpu().double() - right.square() @ square
        delta = self.config.reg + rest.clamp(min=0)
        left = right / delta.view(-1, 1)
        # (S^-2 + V'L)^-1 = S (I + S V'L S)^-1 S, where no singular value divides
        inner = value.view(-1, 1) * (right.t() @ left) * value
        inner.diagonal().add_(1.0)
        core = value.view(-1, 1) * torch.linalg.inv(inner) * value
        encoder = left @ core
        own = 1 / delta - (encoder * left).sum(1)
        self.keep(encoder=encoder, items=left / own.view(-1, 1))
