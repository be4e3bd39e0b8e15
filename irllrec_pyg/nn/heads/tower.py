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
        last = len(layers) - 1
        if not last:
            raise ValueError(
                "Intents need a backbone that propagates: 'num_layers' must be at least 1."
            )
        pairs = zip(layers[:last], layers[self.shift : last + self.shift], strict=True)
        out = [self.conv(x, prototypes(layer, graph.num_users), graph) for layer, x in pairs]
        return torch.stack(out).mean(0)
