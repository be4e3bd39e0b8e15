"""RLMRec-Gen: masked nodes reconstruct their profile texts."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..backbones import Encoding
from ..backbones.propagation import check_rate
from ..batch import Triplets
from ..features import text_features
from ..losses import ssl_loss
from ..mlp import TextMLP
from .base import TextHead


class ProfileReconstruction(TextHead):
    r"""Generative alignment with profile texts, RLMRec-Gen of the `"Representation Learning with
    Large Language Models for Recommendation" <https://arxiv.org/abs/2310.15950>`_ paper.

    At every step :math:`\max(\lfloor \rho N \rfloor, 1)` random nodes :math:`m` get one learnable
    token as their input embedding; the whole step runs on that masked pass, and

    .. math::
        \mathcal{L} = w \cdot \mathrm{ssl}(\mathrm{MLP}(e_m), s_m, \tau)

    Args:
        data (HeteroData): Data set with profile embeddings ``x`` of users and items.
        embedding_size (int): Width of the backbone's input embeddings.
        out_channels (int): Width of the backbone's final embeddings.
        mask_ratio (float, optional): :math:`\rho`. (default: ``0.1``)
        weight (float, optional): :math:`w`. (default: ``0.1``)
        temperature (float, optional): :math:`\tau`. (default: ``0.2``)

    Raises:
        MissingTextError: If the data set has no profile embeddings.
    """

    def __init__(
        self,
        data: HeteroData,
        embedding_size: int,
        out_channels: int,
        mask_ratio: float = 0.1,
        weight: float = 0.1,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(text_features(data, "x"))
        check_rate("mask_ratio", mask_ratio)
        self.mask_ratio = mask_ratio
        self.weight = weight
        self.temperature = temperature
        self.mask_token = torch.nn.Parameter(torch.empty(1, embedding_size))
        torch.nn.init.xavier_uniform_(self.mask_token)
        self.mlp = TextMLP(out_channels, self.features.size(1))

    def corrupt(self, x: Tensor, batch: Triplets) -> Tensor:
        """Puts the token in the place of the masked nodes, which it draws if need be."""
        if batch.masked_nodes is None:
            count = max(int(x.size(0) * self.mask_ratio), 1)
            batch.masked_nodes = torch.randperm(x.size(0), device=x.device)[:count]
        mask = torch.zeros(x.size(0), 1, dtype=torch.bool, device=x.device)
        mask[batch.masked_nodes] = True
        return torch.where(mask, self.mask_token, x)

    def forward(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``reconstruction``."""
        nodes = batch.masked_nodes
        if nodes is None:
            raise RuntimeError("No nodes are masked; call 'corrupt' before the backbone runs.")
        predicted = self.mlp(encoding.nodes.index_select(0, nodes))
        loss = ssl_loss(predicted, self.text_of(batch, nodes), self.temperature)
        return {"reconstruction": self.weight * loss}
