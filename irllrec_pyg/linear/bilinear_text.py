"""Items by their texts alone, with weights between texts that are learned from interactions."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from .base import FactorModel
from .texts import CentredTexts, centred_texts


@register("bilinear-text")
class BilinearText(CentredTexts, FactorModel):
    r"""A bilinear model of texts in closed form: with :math:`\mathbf{F} \in \mathbb{R}^{I \times
    T}` the items' texts, centred and of unit length,

    .. math::
        \mathbf{Y} = \mathbf{R} \mathbf{F} \mathbf{M} \mathbf{F}^{\top}, \qquad
        \min_{\mathbf{M}} \; \|\mathbf{R} - \mathbf{R} \mathbf{F} \mathbf{M} \mathbf{F}^{\top}\|^2
        + \lambda \|\mathbf{M}\|^2

    With :math:`\mathbf{F}^{\top} \mathbf{R}^{\top} \mathbf{R} \mathbf{F} = \mathbf{U}
    \mathrm{diag}(\mathbf{a}) \mathbf{U}^{\top}` and :math:`\mathbf{F}^{\top} \mathbf{F} =
    \mathbf{V} \mathrm{diag}(\mathbf{k}) \mathbf{V}^{\top}`, a zero gradient means

    .. math::
        \mathbf{M} = \mathbf{U} \left[ \frac{a_i (\mathbf{U}^{\top} \mathbf{V})_{ij}}
        {a_i k_j + \lambda} \right]_{ij} \mathbf{V}^{\top}

    Matrices are :math:`T \times T`: it takes any number of items, also items and users that it
    never saw, and an item without an interaction is scored like any other. In no paper that we
    know of.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
    """

    layout: ClassVar = {"items": "I width", "map": "width width", "center": "width"}
    map: Tensor

    class Config(FactorModel.Config):
        reg: float = field(
            1000.0, gt=0, search=(1.0, 1e6), log=True, help="weight of the ridge, lambda"
        )

    def fit(self, data: HeteroData) -> None:
        r"""Solves for :math:`\mathbf{M}`."""
        texts, center = centred_texts(data)
        users = torch.from_numpy(self.interactions() @ texts.cpu().numpy()).to(texts.device)
        a, u = torch.linalg.eigh(users.t() @ users)
        k, v = torch.linalg.eigh(texts.t() @ texts)
        a, k = a.clamp(min=0).view(-1, 1), k.clamp(min=0)  # rounding may leave less than zero
        weight = u @ (a * (u.t() @ v) / (a * k + self.config.reg)) @ v.t()
        self.keep(items=texts, map=weight, center=center)

    def prepare(self) -> None:
        """Encodes the items and the training users."""
        self.register_buffer("encoder", self.items @ self.map)
        super().prepare()

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds texts, and encodes them."""
        super().grow(ids, texts)
        self.prepare()
