"""What backbones with fixed-weight propagation have in common."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..batch import Triplets, select
from ..conv import WeightedSumConv, spmm_chain
from ..graph import Adjacency
from ..losses import info_nce


def check_rate(name: str, value: float) -> None:
    """Refuses a share that does not lie in (0, 1]."""
    if not 0.0 < value <= 1.0:
        raise ValueError(f"{name!r} must lie in (0, 1], got {value}.")


def propagate(
    conv: WeightedSumConv,
    x: Tensor,
    adjacencies: Sequence[Adjacency],
    perturb: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, ...]:
    r"""Propagates once over each matrix and keeps every layer.

    .. math::
        \mathbf{E}^{l+1} = \mathbf{A}_l \mathbf{E}^{l}

    Args:
        conv (WeightedSumConv): The layer. Without ``perturb``, all layers run as one function.
        x (Tensor): :math:`E^0`, shape :math:`(N, d)`.
        adjacencies (sequence of Adjacency): :math:`A_0, \ldots, A_{L-1}`.
        perturb (callable, optional): Changes each layer after it was computed. (default: none)

    Returns:
        :math:`E^0, \ldots, E^L`, each of shape :math:`(N, d)`.
    """
    if perturb is None:
        return x, *spmm_chain(adjacencies, x)
    layers = [x]
    for adjacency in adjacencies:
        layers.append(perturb(conv(layers[-1], adjacency)))
    return tuple(layers)


def sum_layers(layers: Sequence[Tensor]) -> Tensor:
    """Adds up the layers, each of shape :math:`(N, d)`."""
    if len(layers) == 1:
        return layers[0]
    out = layers[0] + layers[1]
    for layer in layers[2:]:
        out += layer
    return out


def contrast_views(
    first: Tensor, second: Tensor, batch: Triplets, temperature: float, negatives: bool
) -> Tensor:
    r"""Contrasts a batch's nodes in two views with all nodes of the second view.

    .. math::
        \frac{1}{B} \big[ \mathrm{nce}(u_1, u_2, \text{all users' } u_2)
        + \mathrm{nce}(i^+_1, i^+_2, \text{all items' } i_2)
        + \mathrm{nce}(i^-_1, i^-_2, \text{all items' } i_2) \big]

    Nodes that a batch repeats enter once, with their multiplicity.

    Args:
        first (Tensor): Final embeddings of the first view, shape :math:`(N, d)`.
        second (Tensor): Final embeddings of the second view, shape :math:`(N, d)`.
        batch (Triplets): The triplets.
        temperature (float): Of the contrastive sums.
        negatives (bool): Whether the negative items take part.
    """
    sides = batch.users, batch.items if negatives else batch.pos_items
    candidates = second.split([batch.graph.num_users, batch.graph.num_items])
    losses = [
        info_nce(x, y, others, temperature, weight=rows.count)
        for rows, x, y, others in zip(
            sides, select(first, *sides), select(second, *sides), candidates, strict=True
        )
    ]
    return torch.stack(losses).sum() / batch.size
