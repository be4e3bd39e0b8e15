"""The same list for everybody, in which texts say how popular new items will be."""

from typing import ClassVar

import torch
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from .popularity import Popularity
from .texts import MappedTexts, centred_texts, ridge


@register("text-popularity")
class TextPopularity(MappedTexts, Popularity):
    r"""Items by the logarithm of their training interactions; for an item without any, by what a
    ridge regression on texts expects,

    .. math::
        y_{ui} = \begin{cases} \log(1 + |\mathcal{U}_i|) & |\mathcal{U}_i| > 0 \\
        b + \mathbf{w}^{\top} \mathbf{f}_i & \text{else} \end{cases}, \qquad
        \min_{\mathbf{w}, b} \sum_{i : \, |\mathcal{U}_i| > 0} (b + \mathbf{w}^{\top} \mathbf{f}_i -
        \log(1 + |\mathcal{U}_i|))^2 + \lambda \|\mathbf{w}\|^2

    with :math:`\mathbf{F}` the items' texts, centred and of unit length. A part for a
    :class:`~irllrec_pyg.ranking.Blend` whose others know what a user likes, and not what many do.

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
    """

    class Config(Popularity.Config):
        reg: float = field(
            1.0, gt=0, search=(0.01, 100.0), log=True, help="ridge of the map from texts"
        )

    layout: ClassVar = {"items": "I 1", "map": "width 1", "constant": "1", "center": "width"}

    def fit(self, data: HeteroData) -> None:
        """Counts interactions, and regresses on the texts."""
        (texts, center), count = centred_texts(data), self.degree().double().view(-1, 1)
        known = (count > 0).flatten()
        weight, constant = ridge(texts[known], self.config.reg)(count[known].log1p())
        items = torch.where(known.view(-1, 1), count.log1p(), texts @ weight + constant)
        self.keep(items=items, map=weight, constant=constant, center=center)
