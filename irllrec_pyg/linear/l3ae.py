"""The linear autoencoder with texts as a prior."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from .item_weights import ItemWeights, inverse_
from .texts import CentredTexts, centred, centred_texts, text_prior


@register("l3ae")
class L3AE(CentredTexts, ItemWeights):
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

    layout: ClassVar = {
        "weight": "I I",
        "texts": "I width",
        "prior": "I width",
        "solved": "width width",
        "center": "width",
    }
    texts: Tensor
    prior: Tensor
    solved: Tensor

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        r"""Adds items without an interaction, as if they had been there when the prior was made;
        the weights between others, which they would change a little, stay.

        With :math:`\mathbf{A}` of :func:`~irllrec_pyg.linear.texts.text_prior`, the prior's weights
        from others to a new item :math:`j` are :math:`\mathbf{F} \mathbf{A} \mathbf{f}_j`, and
        those from it to another item :math:`i`, with :math:`s = \mathbf{f}_j^{\top} \mathbf{A}
        \mathbf{f}_i`, are :math:`\kappa_i s / (1 + \mathbf{f}_j^{\top} \mathbf{A} \mathbf{f}_j +
        \kappa_i s^2)`. Interactions say nothing of the new item: :math:`w \mathbf{P}` times the
        former are its weights, and :math:`a` times the latter.
        """
        old, count = self.num_items, len(ids)
        super().grow(ids, texts)
        if texts is None:
            return
        new = centred(texts, self.center)
        self.texts[old:] = new.float()
        self.weight[:old, old:] = self.prior[:old] @ new.t().float()
        mapped, every = new @ self.solved.double(), self.texts.double()
        self.prior[old:] = (self.config.text_weight * mapped).float()
        between = mapped @ every.t()  # s, of shape (n, I + n)
        kappa = 1 / (1 - ((every @ self.solved.double()) * every).sum(1))
        kappa[old:] = 1.0  # new items are no part of what the prior was made of
        again = kappa * between.square()
        again[:, old:] = 0.0
        grown = kappa * between / (1 + (mapped * new).sum(1).view(-1, 1) + again)
        self.weight[old:] = (self.config.text_weight * grown).float()
        own = torch.arange(old, old + count, device=self.weight.device)
        self.weight[own, own] = 0.0

    def weights(self, data: HeteroData) -> Tensor:
        r"""The matrix :math:`\mathbf{B}`."""
        texts, center = centred_texts(data)
        gram = self.gram()
        gram.diagonal().add_(self.config.reg)
        inverse = inverse_(gram)
        solved = texts.t() @ texts  # A, with which new items are added
        solved.diagonal().add_(self.config.text_reg)
        inverse_(solved)
        left = inverse @ texts
        prior = self.config.text_weight * self.config.reg * (left @ solved)
        self.keep(texts=texts, prior=prior, solved=solved, center=center)
        return corrected_(inverse, left, texts, self.config)


def corrected_(inverse: Tensor, left: Tensor, texts: Tensor, config: L3AE.Config) -> Tensor:
    r"""The weights of :class:`L3AE`, in the memory of the inverse.

    Args:
        inverse (Tensor): :math:`\mathbf{P}` of the ridge ``config.reg``, shape :math:`(I, I)`.
        left (Tensor): :math:`\mathbf{P} \mathbf{F}`, shape :math:`(I, T)`.
        texts (Tensor): :math:`\mathbf{F}` of the same type, shape :math:`(I, T)`.
        config (L3AE.Config): The settings.
    """
    kappa, right = text_prior(texts, config.text_reg)
    weight = config.text_weight * config.reg
    own = inverse.diagonal().clone()
    # PC = P (I - diag kappa) + (PF) H'
    prior_own = own * (1 - kappa) + (left * right).sum(1)
    inverse.mul_(weight * (1 - kappa) - (1 + weight * prior_own) / own)
    return inverse.addmm_(left, right.t(), alpha=weight).fill_diagonal_(0.0)
