"""RLMRec-Con: contrastive alignment with profile texts."""

from torch import Tensor
from torch_geometric.data import HeteroData

from ..backbones import Encoding
from ..batch import Triplets
from ..features import text_features
from ..mlp import TextMLP
from .base import TextHead, align


class ProfileAlignment(TextHead):
    r"""Contrastive alignment with profile texts, RLMRec-Con of the `"Representation Learning with
    Large Language Models for Recommendation" <https://arxiv.org/abs/2310.15950>`_ paper.

    With :math:`p = \mathrm{MLP}(s)`, one map for users and items,

    .. math::
        \mathcal{L} = \frac{w}{B} \big[ \mathrm{nce}(e_u, p_u, \text{all users' } p)
        + \mathrm{nce}(e_{i^+}, p_{i^+}, \text{the batch's } p_{i^+})
        + \mathrm{nce}(e_{i^-}, p_{i^-}, \text{the batch's } p_{i^-}) \big]

    Args:
        data (HeteroData): Data set with profile embeddings ``x`` of users and items.
        out_channels (int): Width of the backbone's final embeddings.
        weight (float, optional): :math:`w`. (default: ``0.01``)
        temperature (float, optional): Of the contrastive sums. (default: ``0.2``)
        negatives (bool, optional): Whether negative items take part; the published AutoCF
            variant leaves them out. (default: ``True``)

    Raises:
        MissingTextError: If the data set has no profile embeddings.
    """

    def __init__(
        self,
        data: HeteroData,
        out_channels: int,
        weight: float = 0.01,
        temperature: float = 0.2,
        negatives: bool = True,
    ) -> None:
        super().__init__(text_features(data, "x"))
        self.weight = weight
        self.temperature = temperature
        self.negatives = negatives
        self.mlp = TextMLP(self.features.size(1), out_channels)

    def forward(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``profile``."""
        text = self.encode(self.mlp, batch, self.negatives)
        loss = align(encoding.nodes, text, batch, self.temperature, self.negatives)
        return {"profile": self.weight * loss}
