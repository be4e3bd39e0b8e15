"""IRLLRec's pairwise alignment."""

import torch
from torch import Tensor

from ...config import field
from ...registry import Configured
from ..batch import Triplets
from ..fields import loss_weight
from .base import TextRows, align


class PairwiseAlignment(Configured, torch.nn.Module):
    r"""Contrastive alignment of each node's two intents, one part of
    :class:`~irllrec_pyg.nn.IntentAlignment`: as :func:`align`, with the intents :math:`r` from
    interactions in the place of :math:`e` and those :math:`z` from texts in that of :math:`p`.

    Args:
        config (PairwiseAlignment.Config): ``weight`` and ``negatives``.
        temperature (float): Of the contrastive sums.
    """

    class Config(Configured.Config):
        weight: float = loss_weight(0.02, 1e-4, 1.0)
        negatives: bool = field(True, help="whether negative items take part")

    config: Config

    def __init__(self, config: Config, temperature: float) -> None:
        super().__init__()
        self.config, self.temperature = config, temperature

    def forward(self, interaction: Tensor, text: TextRows, batch: Triplets) -> Tensor:
        """The weighted loss.

        Args:
            interaction (Tensor): :math:`r` of all nodes, shape :math:`(N, d)`.
            text (TextRows): :math:`z` of all users and at least those items that take part.
            batch (Triplets): The triplets.
        """
        loss = align(interaction, text, batch, self.temperature, self.config.negatives)
        return self.config.weight * loss
