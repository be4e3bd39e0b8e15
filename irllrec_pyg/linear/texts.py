"""The items' texts as the closed-form models take them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE
from ..nn.features import text_features


def item_texts(data: HeteroData) -> Tensor:
    r"""Texts of the items, centred and of unit length: the matrix :math:`\mathbf{F}`; see
    :func:`centred_texts`.

    Without their mean, which says nothing about an item, similarities of texts spread over both
    signs. A text that is the mean stays zero.

    Returns:
        Tensor of shape :math:`(I, T)`, float64, where the interactions are.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
        ValueError: If one of them is NaN or infinite; names the item.
    """
    return centred_texts(data)[0]


def centred_texts(data: HeteroData) -> tuple[Tensor, Tensor]:
    r"""The matrix :math:`\mathbf{F}` of :func:`item_texts`, and the texts' mean, which new items'
    texts are centred by (:func:`centred`).

    Returns:
        Tensors of shape :math:`(I, T)` and :math:`(T,)`, float64, where the interactions are.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
        ValueError: If one of them is NaN or infinite; names the item.
    """
    x = text_features(data, "x", sides=["item"])
    x = x.to(data[EDGE_TYPE].edge_index.device, torch.float64)
    if not (finite := x.isfinite().all(1)).all():
        broken = (~finite).nonzero().flatten()
        raise ValueError(
            f"data['item'].x of item {int(broken[0])} is NaN or infinite ({broken.numel()} such "
            "items): texts must be finite numbers."
        )
    center = x.mean(0)
    return normalize(x - center, dim=1), center


def centred(texts: Tensor, center: Tensor) -> Tensor:
    """Texts less the mean of those that a model was built with, of unit length, float64."""
    return normalize(texts.double() - center.double(), dim=1)


class CentredTexts:
    """What models share that read the items' texts less their mean, ``center``, by which the texts
    of new items are centred likewise.
    """

    center: Tensor

    @property
    def text_width(self) -> int:
        """Width of the texts."""
        return self.center.numel()

    def text_items(self, texts: Tensor) -> Tensor:
        """Texts as the items' are."""
        return centred(texts, self.center).to(self.center.dtype)


class MappedTexts(CentredTexts):
    """What models share whose new items follow from texts by a map and a constant."""

    map: Tensor
    constant: Tensor

    def text_items(self, texts: Tensor) -> Tensor:
        """The map of texts."""
        mapped = centred(texts, self.center) @ self.map.double() + self.constant.double()
        return mapped.float()


def text_prior(texts: Tensor, reg: float) -> tuple[Tensor, Tensor]:
    r"""EASE on the texts, :math:`\mathbf{C} = \mathbf{I} - \mathrm{diag}(\boldsymbol\kappa) +
    \mathbf{F} \mathbf{H}^{\top}`, without an :math:`I \times I` matrix.

    .. math::
        \mathbf{A} = (\mathbf{F}^{\top} \mathbf{F} + \lambda \mathbf{I})^{-1}, \qquad
        \kappa_j = \frac{1}{1 - \mathbf{f}_j^{\top} \mathbf{A} \mathbf{f}_j}, \qquad
        \mathbf{H} = \mathrm{diag}(\boldsymbol\kappa) \mathbf{F} \mathbf{A}

    Woodbury's identity on :math:`(\mathbf{F} \mathbf{F}^{\top} + \lambda \mathbf{I})^{-1}` gives
    this; the diagonal of :math:`\mathbf{C}` is zero.

    Args:
        texts (Tensor): :math:`\mathbf{F}` of shape :math:`(I, T)`.
        reg (float): :math:`\lambda`.

    Returns:
        :math:`\boldsymbol\kappa` of shape :math:`(I,)` and :math:`\mathbf{H}` of shape
        :math:`(I, T)`.
    """
    gram = texts.t() @ texts
    gram.diagonal().add_(reg)
    solved = torch.cholesky_solve(texts.t(), torch.linalg.cholesky(gram)).t()  # F A
    kappa = 1 / (1 - (solved * texts).sum(1))
    return kappa, kappa.view(-1, 1) * solved


def ridge(x: Tensor, reg: float) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    r"""A ridge regression with a constant, factorised once for any number of targets.

    Args:
        x (Tensor): What is regressed on, shape :math:`(N, T)`.
        reg (float): Weight of the ridge, which the constant does not have.

    Returns:
        Function of targets of shape :math:`(N, d)` to weights of shape :math:`(T, d)` and a
        constant of shape :math:`(d,)`.

    Raises:
        ValueError: If there is nothing to learn from.
    """
    if not len(x):
        raise ValueError("No item has a training interaction, from which texts could be learned.")
    mean = x.mean(0)
    x = x - mean
    gram = x.t() @ x
    gram.diagonal().add_(reg)
    factor = torch.linalg.cholesky(gram)

    def solve(y: Tensor) -> tuple[Tensor, Tensor]:
        centre = y.mean(0)
        weight = torch.cholesky_solve(x.t() @ (y - centre), factor)
        return weight, centre - mean @ weight

    return solve
