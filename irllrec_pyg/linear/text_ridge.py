"""Item factors of a factorisation, and what texts say of them."""

from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from .ials import IALS
from .texts import item_texts, ridge


@register("text-ridge")
class TextRidge(IALS):
    r""":class:`IALS` whose item factors :math:`\mathbf{H}` are predicted from texts by a ridge
    regression over the items that have interactions :math:`\mathcal{I}_+`.

    .. math::
        \min_{\mathbf{A}} \sum_{i \in \mathcal{I}_+} \|\mathbf{h}_i - \mathbf{A}^{\top}
        \mathbf{f}_i\|^2 + \lambda_F \|\mathbf{A}\|^2, \qquad
        \hat{\mathbf{h}}_i = \begin{cases} (1 - a) \, \mathbf{h}_i + a \, \mathbf{A}^{\top}
        \mathbf{f}_i & i \in \mathcal{I}_+ \\ \mathbf{A}^{\top} \mathbf{f}_i &
        \text{else} \end{cases}

    with :math:`\mathbf{F}` the items' texts, centred and of unit length, beside a constant that
    has no ridge. Such maps from content to factors go back to `"Learning Attribute-to-Feature
    Mappings for Cold-Start Recommendations" <https://doi.org/10.1109/ICDM.2010.129>`_ (ICDM 2010).

    Raises:
        MissingTextError: If the data set has no profile embeddings ``x`` of its items.
    """

    class Config(IALS.Config):
        text_reg: float = field(
            1.0, gt=0, search=(0.01, 100.0), log=True, help="weight of the ridge on the texts"
        )
        text_weight: float = field(
            0.2, ge=0, le=1, search=(0.0, 1.0), help="share a of the texts for items with factors"
        )

    layout: ClassVar = {"users": "U dim", "items": "I dim", "warm": "I dim"}
    warm: Tensor

    def fit(self, data: HeteroData) -> None:
        """Factorises, and regresses the factors on the texts."""
        texts = item_texts(data)
        super().fit(data)
        self.register_buffer("warm", self.items)
        has_factors = self.degree() > 0
        predict = ridge(texts[has_factors], texts, self.config.text_reg)
        predicted = predict(self.items[has_factors].double())
        share = torch.where(has_factors, self.config.text_weight, 1.0).view(-1, 1)
        self.items = torch.lerp(self.items.double(), predicted, share.double()).float()

    @property
    def factors(self) -> Tensor:
        """Factors of the items that those of users are solved from: those before texts came in."""
        return self.warm
