"""The tower that learns intents from interactions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..conv import AdaptiveConv
from ..graph import InteractionGraph


class InteractionTower(torch.nn.Module):
    r"""Intents learnt from interactions, :math:`r` of :class:`~irllrec_pyg.nn.IntentAlignment`.

    Args:
        shift (int, optional): As there. (default: ``0``)
    """

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        self.conv = AdaptiveConv()
        self.shift = shift

    def forward(
        self, layers: Sequence[Tensor], prototypes: torch.nn.Module, graph: InteractionGraph
    ) -> Tensor:
        r"""Averages the intent-weighted neighbours over the layers, shape :math:`(N, d)`."""
        if len(layers) < 2:
            raise ValueError(
                "Intents need a backbone that propagates: 'num_layers' must be at least 1."
            )
        # By number: PyTorch 2.6 cannot compile a strict zip that a graph break interrupts.
        out = [
            self.conv(layers[at + self.shift], prototypes(layers[at], graph.num_users), graph)
            for at in range(len(layers) - 1)
        ]
        return torch.stack(out).mean(0)
