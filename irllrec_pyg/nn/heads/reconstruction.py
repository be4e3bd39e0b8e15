"""RLMRec-Gen: masked nodes reconstruct their profile texts."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import field
from ...registry import register
from ..backbones import Backbone, Encoding
from ..batch import Triplets
from ..fields import loss_weight, temperature_of
from ..losses import ssl_loss
from ..mlp import TextMLP
from .base import TextHead


@register("reconstruction")
class ProfileReconstruction(TextHead):
    r"""Generative alignment with profile texts, RLMRec-Gen of the `"Representation Learning with
    Large Language Models for Recommendation" <https://arxiv.org/abs/2310.15950>`_ paper.

    At every step :math:`\max(\lfloor \rho N \rfloor, 1)` random nodes :math:`m` get one learnable
    token as their input embedding; the whole step runs on that masked pass, and

    .. math::
        \mathcal{L} = w \cdot \mathrm{ssl}(\mathrm{MLP}(e_m), s_m, \tau)

    Args:
        data (HeteroData): Data set with profile embeddings ``x`` of users and items, or of items.
        backbone (Backbone): Yields the final embeddings :math:`e`.
        config, **settings: As of every :class:`Head`.

    Raises:
        MissingTextError: If the data set has no profile embeddings.
    """

    class Config(TextHead.Config):
        mask_ratio: float = field(
            0.1, gt=0, le=1, help="share of the nodes that are masked", search=(0.02, 0.5), log=True
        )
        weight: float = loss_weight(0.1, 1e-3, 1.0)
        temperature: float = temperature_of("the contrastive sum", 0.2, 0.05, 1.0, log=True)

    config: Config

    def build(self, data: HeteroData, backbone: Backbone) -> None:
        """Makes the token and the map to texts."""
        super().build(data, backbone)
        self.mask_token = torch.nn.Parameter(torch.empty(1, backbone.embedding_size))
        torch.nn.init.xavier_uniform_(self.mask_token)
        self.mlp = TextMLP(backbone.out_channels, self.features.size(1))

    def corrupt(self, x: Tensor, batch: Triplets) -> Tensor:
        """Puts the token in the place of the masked nodes, which it draws if need be."""
        if batch.masked_nodes is None:
            count = max(int(x.size(0) * self.config.mask_ratio), 1)
            batch.masked_nodes = torch.randperm(x.size(0), device=x.device)[:count]
        mask = torch.zeros(x.size(0), 1, dtype=torch.bool, device=x.device)
        mask.index_fill_(0, batch.masked_nodes, True)
        return torch.where(mask, self.mask_token, x)

    def forward(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``reconstruction``."""
        nodes = batch.masked_nodes
        if nodes is None:
            raise RuntimeError("No nodes are masked; call 'corrupt' before the backbone runs.")
        predicted = self.mlp(encoding.nodes.index_select(0, nodes))
        loss = ssl_loss(predicted, self.text_of(batch, nodes), self.config.temperature)
        return {"reconstruction": self.config.weight * loss}
