"""The linear autoencoder with a closed form."""

from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from .item_weights import ItemWeights, inverse_


@register("ease")
class EASE(ItemWeights):
    r"""The linear autoencoder from the `"Embarrassingly Shallow Autoencoders for Sparse Data"
    <https://arxiv.org/abs/1905.03375>`_ paper (eq. 8), in closed form.

    .. math::
        \mathbf{P} = (\mathbf{R}^{\top} \mathbf{R} + \lambda \mathbf{I})^{-1}, \qquad
        \mathbf{B} = \mathbf{I} - \mathbf{P} \, \mathrm{diag}(\mathbf{P})^{-1}, \qquad
        \mathbf{Y} = \mathbf{R} \mathbf{B}

    An item without an interaction has zero weights, and scores zero.

    Raises:
        MemoryError: If :math:`12 I^2` bytes are not available; see :class:`ItemWeights`.
    """

    class Config(ItemWeights.Config):
        reg: float = field(
            50.0, gt=0, search=(25.0, 400.0), log=True, help="weight of the ridge, lambda"
        )

    def weights(self, data: HeteroData) -> Tensor:
        r"""The matrix :math:`\mathbf{B}`."""
        gram = self.gram()
        gram.diagonal().add_(self.ridge(gram.diagonal().clone()))
        return without_own(inverse_(gram))

    def ridge(self, count: Tensor) -> Tensor:
        r"""The ridge of each item, of its number of interactions, both of shape :math:`(I,)`."""
        return count.new_full((), self.config.reg).expand_as(count)


def without_own(inverse: Tensor) -> Tensor:
    """Weights with a zero diagonal of an inverse, in its memory."""
    return inverse.div_(-inverse.diagonal().clone()).fill_diagonal_(0.0)
