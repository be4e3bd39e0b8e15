"""RLMRec-Con: contrastive alignment with profile texts."""

from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import field
from ...registry import register
from ..backbones import Backbone, Encoding
from ..batch import Triplets
from ..fields import loss_weight, temperature_of
from ..mlp import TextMLP
from .base import TextHead, align


@register("profile")
class ProfileAlignment(TextHead):
    r"""Contrastive alignment with profile texts, RLMRec-Con of the `"Representation Learning with
    Large Language Models for Recommendation" <https://arxiv.org/abs/2310.15950>`_ paper.

    With :math:`p = \mathrm{MLP}(s)`, one map for users and items,

    .. math::
        \mathcal{L} = \frac{w}{B} \big[ \mathrm{nce}(e_u, p_u, \text{all users' } p)
        + \mathrm{nce}(e_{i^+}, p_{i^+}, \text{the batch's } p_{i^+})
        + \mathrm{nce}(e_{i^-}, p_{i^-}, \text{the batch's } p_{i^-}) \big]

    Args:
        data (HeteroData): Data set with profile embeddings ``x`` of users and items, or of items.
        backbone (Backbone): Yields the final embeddings :math:`e`.
        config, **settings: As of every :class:`Head`.

    Raises:
        MissingTextError: If the data set has no profile embeddings.
    """

    class Config(TextHead.Config):
        weight: float = loss_weight(0.01, 1e-4, 1.0)
        temperature: float = temperature_of("the contrastive sums", 0.2, 0.05, 1.0, log=True)
        negatives: bool = field(
            True, help="whether negative items take part; AutoCF's published variant has none"
        )

    config: Config

    def build(self, data: HeteroData, backbone: Backbone) -> None:
        """Makes the map of texts."""
        super().build(data, backbone)
        self.mlp = TextMLP(self.features.size(1), backbone.out_channels)

    def forward(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``profile``."""
        negatives = self.config.negatives
        text = self.encode(self.mlp, batch, negatives)
        loss = align(encoding.nodes, text, batch, self.config.temperature, negatives)
        return {"profile": self.config.weight * loss}
