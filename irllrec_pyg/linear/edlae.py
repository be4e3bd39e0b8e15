"""Linear autoencoders with a ridge that grows with an item's interactions."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from .ease import EASE
from .item_weights import inverse_


@register("edlae")
class EDLAE(EASE):
    r"""The emphasised denoising linear autoencoder from the `"Autoencoders that don't overfit
    towards the Identity" <https://proceedings.neurips.cc/paper/2020/hash/
    e33d974aae13e4d877477d51d8bafdc4-Abstract.html>`_ paper (Steck, NeurIPS 2020), with full
    emphasis: :class:`EASE` trained on histories of which a share :math:`p` is dropped at random.

    .. math::
        \mathbf{P} = \left(\mathbf{R}^{\top} \mathbf{R} + \lambda \mathbf{I} + \tfrac{p}{1 - p}
        \mathrm{diag}(\mathbf{R}^{\top} \mathbf{R})\right)^{-1}, \qquad
        \mathbf{B} = \mathbf{I} - \mathbf{P} \, \mathrm{diag}(\mathbf{P})^{-1}

    Raises:
        MemoryError: If :math:`12 I^2` bytes are not available.
    """

    class Config(EASE.Config):
        dropout: float = field(
            0.2, ge=0, lt=1, search=(0.0, 0.7), help="share p of a history that is dropped"
        )

    def ridge(self, count: Tensor) -> Tensor:
        r"""The ridge of each item, of shape :math:`(I,)`."""
        dropout: float = self.config.dropout
        return super().ridge(count) + dropout / (1 - dropout) * count


@register("rdlae")
class RDLAE(EDLAE):
    r"""The relaxed denoising linear autoencoder from the `"It's Enough: Relaxing Diagonal
    Constraints in Linear Autoencoders for Recommendation" <https://arxiv.org/abs/2305.12922>`_
    paper: :class:`EDLAE` whose weights of an item for itself may be as large as :math:`\xi`.

    .. math::
        \boldsymbol\Lambda = \lambda \mathbf{I} + \tfrac{p}{1 - p} \mathrm{diag}(\mathbf{R}^{\top}
        \mathbf{R}), \qquad
        \mathbf{P} = (\mathbf{R}^{\top} \mathbf{R} + \boldsymbol\Lambda)^{-1}, \\
        \mathbf{B} = \mathbf{I} - \mathbf{P} \, \mathrm{diag}(\boldsymbol\kappa), \qquad
        \kappa_j = \max\left(\Lambda_{jj}, \frac{1 - \xi}{P_{jj}}\right)

    With :math:`\xi = 0` it is EDLAE, with :math:`\xi = 1` a ridge regression.

    Raises:
        MemoryError: If :math:`12 I^2` bytes are not available.
    """

    class Config(EDLAE.Config):
        relaxation: float = field(
            0.3, ge=0, le=1, search=(0.0, 0.9), help="largest weight xi of an item for itself"
        )

    def weights(self, data: HeteroData) -> Tensor:
        r"""The matrix :math:`\mathbf{B}`."""
        gram = self.gram()
        ridge = self.ridge(gram.diagonal().clone())
        gram.diagonal().add_(ridge)
        inverse = inverse_(gram)
        kappa = torch.maximum(ridge, (1 - self.config.relaxation) / inverse.diagonal())
        weight = inverse.mul_(-kappa)
        weight.diagonal().add_(1.0)
        return weight
