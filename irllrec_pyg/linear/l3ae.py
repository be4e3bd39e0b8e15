"""The linear autoencoder with texts as a prior."""

from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from .item_weights import ItemWeights, inverse_
from .texts import item_texts, text_prior


@register("l3ae")
class L3AE(ItemWeights):
    r"""L3AE, `"LLM-Enhanced Linear Autoencoders for Recommendation"
    <https://arxiv.org/abs/2508.13500>`_ (CIKM 2025): weights from item to item that the texts
    suggest, and that interactions correct.

    First :class:`EASE` on the texts :math:`\mathbf{F} \in \mathbb{R}^{I \times T}` (centred, of
    unit length), each of their columns taken for a user, gives the prior :math:`\mathbf{C}`; then

    .. math::
        \min_{\mathbf{B}} \; \|\mathbf{R} - \mathbf{R} \mathbf{B}\|^2 + \rho \, \|\mathbf{B} -
        a \, \mathbf{C}\|^2 \quad \text{with} \quad \mathrm{diag}(\mathbf{B}) = 0

    is solved by

    .. math::
        \mathbf{P} = (\mathbf{R}^{\top} \mathbf{R} + \rho \mathbf{I})^{-1}, \qquad
        \mathbf{B} = w \mathbf{P} \mathbf{C} - \mathbf{P} \, \mathrm{diag}\left(\frac{1 + w \,
        \mathrm{diag}(\mathbf{P} \mathbf{C})}{\mathrm{diag} \, \mathbf{P}}\right) + \mathbf{I},
        \qquad w = a \rho

    The paper's form :math:`\lambda \|\mathbf{B}\|^2 + w \|\mathbf{B} - \mathbf{C}\|^2` is this one
    with :math:`\rho = \lambda + w` and ends at :math:`a = 1`; greater ones are often better. An
    item without an interaction is scored by its text's neighbours.

    The prior is of rank :math:`T` but for its diagonal, so no second :math:`I \times I` matrix is
    made.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
        MemoryError: If :math:`12 I^2` bytes are not available; see :class:`ItemWeights`.
    """

    class Config(ItemWeights.Config):
        reg: float = field(
            100.0, gt=0, search=(10.0, 1000.0), log=True, help="weight of the ridge, rho"
        )
        text_weight: float = field(
            1.0, ge=0, search=(0.1, 5.0), log=True, help="how far the prior draws, a"
        )
        text_reg: float = field(
            10.0, gt=0, search=(0.5, 100.0), log=True, help="weight of the prior's own ridge"
        )

    def weights(self, data: HeteroData) -> Tensor:
        r"""The matrix :math:`\mathbf{B}`."""
        gram = self.gram()
        gram.diagonal().add_(self.config.reg)
        return corrected_(inverse_(gram), item_texts(data), self.config)


def corrected_(inverse: Tensor, texts: Tensor, config: L3AE.Config) -> Tensor:
    r"""The weights of :class:`L3AE`, in the memory of the inverse.

    Args:
        inverse (Tensor): :math:`\mathbf{P}` of the ridge ``config.reg``, shape :math:`(I, I)`.
        texts (Tensor): :math:`\mathbf{F}` of the same type, shape :math:`(I, T)`.
        config (L3AE.Config): The settings.
    """
    kappa, right = text_prior(texts, config.text_reg)
    weight = config.text_weight * config.reg
    own, left = inverse.diagonal().clone(), inverse @ texts
    # PC = P (I - diag kappa) + (PF) H'
    prior_own = own * (1 - kappa) + (left * right).sum(1)
    inverse.mul_(weight * (1 - kappa) - (1 + weight * prior_own) / own)
    return inverse.addmm_(left, right.t(), alpha=weight).fill_diagonal_(0.0)
