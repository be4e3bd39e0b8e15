"""Item factors of a factorisation, and what texts say of them."""

import torch
from torch_geometric.data import HeteroData

from ..config import field
from ..registry import register
from .text_factors import TextFactors
from .texts import centred_texts, ridge


@register("text-ridge")
class TextRidge(TextFactors):
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

    class Config(TextFactors.Config):
        text_reg: float = field(
            1.0, gt=0, search=(0.01, 100.0), log=True, help="weight of the ridge on the texts"
        )
        text_weight: float = field(
            0.2, ge=0, le=1, search=(0.0, 1.0), help="share a of the texts for items with factors"
        )

    def fit(self, data: HeteroData) -> None:
        """Factorises, and regresses the factors on the texts."""
        texts, center = centred_texts(data)
        super().fit(data)
        has_factors = self.degree() > 0
        solve = ridge(texts[has_factors], self.config.text_reg)
        weight, constant = solve(self.items[has_factors].double())
        self.keep(warm=self.items, map=weight, constant=constant, center=center)
        share = torch.where(has_factors, self.config.text_weight, 1.0).view(-1, 1)
        predicted = texts @ weight + constant
        self.items = torch.lerp(self.items.double(), predicted, share.double()).float()
