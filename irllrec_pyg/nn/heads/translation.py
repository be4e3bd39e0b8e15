"""IRLLRec's translation alignment."""

from typing import Literal

import torch
from torch import Tensor

from ...config import field
from ...registry import Configured
from ..fields import loss_weight
from ..losses import ssl_loss


class TranslationAlignment(Configured, torch.nn.Module):
    r"""Contrastive alignment of noisy intents from texts with noisy final embeddings, one part of
    :class:`~irllrec_pyg.nn.IntentAlignment`:

    .. math::
        \mathcal{L}_{tr} = w \, \mathrm{ssl}(\tilde{z}, \tilde{e}, 1), \qquad
        \tilde{x} = x + \sigma \, \mathrm{std}(x) \, \epsilon
        \quad \text{or} \quad \tilde{x} = x \odot (1 + \epsilon), \qquad
        \epsilon \sim \mathcal{N}(0, 1)

    The paper asks for noise and leaves it open; additive noise is our definition, multiplicative
    noise over all nodes is what the released code of LightGCN has.

    Args:
        config (TranslationAlignment.Config): ``weight``, ``noise``, ``noise_scale``, ``nodes``.
    """

    class Config(Configured.Config):
        weight: float = loss_weight(5e-4, 1e-7, 1e-1)
        noise: Literal["additive", "multiplicative"] = field(
            "additive", help="whether noise is added to a vector or scales its entries"
        )
        noise_scale: float = field(
            0.1, ge=0, help="standard deviation of additive noise, in those of the vectors"
        )
        nodes: Literal["batch", "all"] = field(
            "batch", help="whether it, and matching, run over the batch's nodes or over all"
        )

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, text: Tensor, final: Tensor, augment: bool) -> Tensor:
        """The weighted loss.

        Args:
            text (Tensor): :math:`z` of the nodes, shape :math:`(M, d)`.
            final (Tensor): :math:`e` of the same nodes, shape :math:`(M, d)`.
            augment (bool): Whether there is noise.
        """
        if augment:
            text, final = self._disturb(text), self._disturb(final)
        return self.config.weight * ssl_loss(text, final, 1.0)

    def _disturb(self, x: Tensor) -> Tensor:
        if self.config.noise == "multiplicative":
            return x * (1 + torch.randn_like(x))
        return x + self.config.noise_scale * x.detach().std() * torch.randn_like(x)
