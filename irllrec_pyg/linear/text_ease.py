"""EASE on interactions and texts together."""

from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from .ease import EASE, without_own
from .item_weights import inverse_
from .texts import item_texts, text_prior


@register("collective-ease")
class CollectiveEASE(EASE):
    r"""CEASE from the `"Closed-Form Models for Collaborative Filtering with Side-Information"
    <https://doi.org/10.1145/3383313.3418480>`_ paper (RecSys 2020): :class:`EASE` where each
    column of the texts :math:`\mathbf{F} \in \mathbb{R}^{I \times T}` (centred, of unit length)
    stands under the users as a further one, with weight :math:`w`.

    .. math::
        \mathbf{P} = (\mathbf{R}^{\top} \mathbf{R} + w \mathbf{F} \mathbf{F}^{\top} + \lambda
        \mathbf{I})^{-1}, \qquad
        \mathbf{B} = \mathbf{I} - \mathbf{P} \, \mathrm{diag}(\mathbf{P})^{-1}

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
        MemoryError: If :math:`12 I^2` bytes are not available; see :class:`ItemWeights`.
    """

    class Config(EASE.Config):
        text_weight: float = field(
            10.0, ge=0, search=(0.1, 1000.0), log=True, help="weight w of the texts"
        )

    def weights(self, data: HeteroData) -> Tensor:
        r"""The matrix :math:`\mathbf{B}`."""
        texts, gram = item_texts(data), self.gram()
        gram.addmm_(texts, texts.t(), alpha=self.config.text_weight)
        gram.diagonal().add_(self.config.reg)
        return without_own(inverse_(gram))


@register("additive-ease")
class AdditiveEASE(EASE):
    r"""add-EASE from the `"Closed-Form Models for Collaborative Filtering with Side-Information"
    <https://doi.org/10.1145/3383313.3418480>`_ paper (RecSys 2020): the weighted sum of
    :class:`EASE` on the interactions and EASE on the texts :math:`\mathbf{F}` (centred, of unit
    length),

    .. math::
        \mathbf{B} = (1 - a) \, \mathrm{EASE}_\lambda(\mathbf{R}) + a \,
        \mathrm{EASE}_{\lambda_F}(\mathbf{F}^{\top})

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
        MemoryError: If :math:`12 I^2` bytes are not available; see :class:`ItemWeights`.
    """

    class Config(EASE.Config):
        text_weight: float = field(
            0.3, ge=0, le=1, search=(0.0, 1.0), help="share a of the texts' weights"
        )
        text_reg: float = field(
            10.0, gt=0, search=(0.5, 100.0), log=True, help="weight of the ridge on the texts"
        )

    def weights(self, data: HeteroData) -> Tensor:
        r"""The matrix :math:`\mathbf{B}`."""
        texts = item_texts(data)
        _, right = text_prior(texts, self.config.text_reg)
        weight, share = super().weights(data), self.config.text_weight
        weight.addmm_(texts, right.t(), beta=1 - share, alpha=share)
        return weight.fill_diagonal_(0.0)
