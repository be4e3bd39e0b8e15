"""The ideal low-pass filter on the graph, alone and with the linear one."""

from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from ..sparse import multiply, singular_vectors
from .base import FactorModel, LinearModel, inverse_root
from .linear_filter import GraphFilter


def low_pass(model: LinearModel, rank: int) -> tuple[Tensor, Tensor]:
    r"""The two factors of :math:`\mathbf{D}_I^{-1/2} \mathbf{V}_k \mathbf{V}_k^{\top}
    \mathbf{D}_I^{1/2}`, both of shape :math:`(I, k)`.
    """
    root = model.degree().clamp(min=1).sqrt().cpu().double()
    columns = model.interactions() @ sp.diags_array(1 / root.numpy())
    rows = sp.diags_array(inverse_root(model.seen_ptr.diff())) @ columns
    # Half the time in float32, and the filter is applied in it.
    right = singular_vectors(rows.tocsr().astype(np.float32), rank)[2].double()
    return right / root.view(-1, 1), right * root.view(-1, 1)


class LowRankModel(LinearModel):
    """Base class of models with a number of singular vectors of the interactions."""

    class Config(LinearModel.Config):
        rank: int = field(256, ge=1, search=(8, 512), log=True, help="number k of singular vectors")

    @classmethod
    def limits(cls, data: HeteroData) -> dict[str, int]:
        """There are fewer vectors than users and than items."""
        return {"rank": min(data["user"].num_nodes, data["item"].num_nodes) - 1}


@register("low-pass-svd")
class LowPassSVD(LowRankModel, FactorModel):
    r"""The ideal low-pass filter of GF-CF, `"How Powerful is Graph Convolution for
    Recommendation?" <https://arxiv.org/abs/2108.07567>`_.

    .. math::
        \mathbf{Y} = \mathbf{R} \mathbf{D}_I^{-1/2} \, \mathbf{V}_k \mathbf{V}_k^{\top}
        \, \mathbf{D}_I^{1/2}

    with :math:`\mathbf{V}_k` the right singular vectors of :math:`\mathbf{D}_U^{-1/2} \mathbf{R}
    \mathbf{D}_I^{-1/2}` that belong to its :math:`k` greatest singular values.
    """

    is_nested = True

    def fit(self, data: HeteroData) -> None:
        """Finds the singular vectors."""
        encoder, items = low_pass(self, self.config.rank)
        self.keep(encoder=encoder, items=items)

    def truncated(self, **settings: Any) -> Self:
        """The model of fewer singular vectors."""
        twin = self._twin(**settings)
        for name in ("users", "encoder", "items"):
            twin.register_buffer(name, getattr(self, name)[:, : twin.config.rank].contiguous())
        return twin


@register("gf-cf")
class GFCF(LowRankModel, GraphFilter):
    r"""GF-CF, `"How Powerful is Graph Convolution for Recommendation?"
    <https://arxiv.org/abs/2108.07567>`_: a linear filter and an ideal low-pass filter.

    .. math::
        \mathbf{Y} = \mathbf{R} \left( \mathbf{D}_I^{-a} \mathbf{R}^{\top} \mathbf{D}_U^{-b}
        \mathbf{R} \mathbf{D}_I^{-c} + w \, \mathbf{D}_I^{-1/2} \, \mathbf{V}_k
        \mathbf{V}_k^{\top} \, \mathbf{D}_I^{1/2} \right)

    with :math:`\mathbf{V}_k` as in :class:`LowPassSVD`. The paper has :math:`a = c = 1/2` and
    :math:`b = 1`. How much a listed item's popularity counts against it, :math:`c`, belongs to the
    data, as in RP3beta, `"Updatable, Accurate, Diverse, and Scalable Recommendations for
    Interactive Applications" <https://doi.org/10.1145/2955101>`_ (TiiS 2017), which raises its
    probabilities to exponents likewise.
    """

    class Config(LowRankModel.Config):
        low_pass_weight: float = field(
            0.3, ge=0, search=(0.03, 3.0), log=True, help="weight w of the low-pass filter"
        )
        history_exponent: float = field(
            0.5, ge=-1, le=2, search=(0.0, 1.0), help="of the degrees of a user's items, a"
        )
        user_exponent: float = field(
            1.0, ge=-1, le=2, search=(0.0, 1.0), help="of the users' degrees, b"
        )
        item_exponent: float = field(
            0.5, ge=-1, le=2, search=(0.0, 1.0), help="of the degrees of listed items, c"
        )

    layout: ClassVar = {"encoder": "I rank", "items": "I rank"}
    encoder: Tensor
    items: Tensor

    def fit(self, data: HeteroData) -> None:
        """Finds the singular vectors."""
        encoder, items = low_pass(self, self.config.rank)
        self.keep(encoder=encoder, items=items)

    def predict(self, history: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        own = self.config
        columns = history.to_dense().t().to(self.items.dtype)
        exponents = own.history_exponent, own.user_exponent, own.item_exponent
        smooth = multiply(history, self.encoder) @ self.items.t()
        return self.filtered(columns, *exponents).t().add(smooth, alpha=own.low_pass_weight)
