"""What backbones with fixed-weight propagation have in common."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import field
from ...ranking.fold_in import FoldIn
from ..batch import Triplets, select
from ..conv import WeightedSumConv
from ..fields import loss_weight, temperature_of
from ..graph import Adjacency, InteractionGraph
from ..losses import info_nce
from .base import Backbone, Encoding


class LayerSum(Backbone):
    r"""Base class of backbones that propagate over the training graph and put the layers together,
    here by their sum.

    .. math::
        \mathbf{E}^{l+1} = \hat{\mathbf{A}} \mathbf{E}^{l}, \qquad
        \mathbf{E} = \sum_{l=0}^{L} \mathbf{E}^{l}
    """

    class Config(Backbone.Config):
        num_layers: int = field(3, ge=0, le=100, help="number of propagations", search=(1, 4))

    config: Config

    def build(self, data: HeteroData) -> None:
        """Makes the layer."""
        self.conv = WeightedSumConv()

    def adjacency(self, graph: InteractionGraph, dtype: torch.dtype, augment: bool) -> Adjacency:
        r""":math:`\hat{A}`, whether augmented or not."""
        return graph.adjacency(dtype)

    def run(self, graph: InteractionGraph, x: Tensor, augment: bool) -> Encoding:
        """Propagates ``num_layers`` times and sums the layers."""
        adjacency = self.adjacency(graph, x.dtype, augment)
        layers = propagate(self.conv, x, [adjacency] * self.config.num_layers)
        return Encoding(sum_layers(layers), layers)

    @property
    def folds_in(self) -> bool:
        """Whether anything is propagated."""
        return self.config.num_layers > 0

    def fold_in(self) -> FoldIn | None:
        """One propagation from a history's items; see :class:`~irllrec_pyg.ranking.FoldIn`."""
        if not self.folds_in:
            return None
        return FoldIn(sum_layers(item_layers(self)), self.config.num_layers, "sum")


class ContrastedViews(LayerSum):
    """Base class of backbones that contrast two random readings of the graph, :meth:`view`."""

    contrasts_negatives: ClassVar[bool] = False  #: Whether the negative items take part.

    class Config(LayerSum.Config):
        weight: float = loss_weight(0.1, 1e-3, 1.0, of="the contrastive loss")
        temperature: float = temperature_of("the contrastive sums", 0.2, 0.1, 0.5)

    config: Config

    def view(self, graph: InteractionGraph, x: Tensor) -> tuple[Tensor, ...]:
        r"""Layers :math:`E^0, \ldots, E^L` of a randomly augmented pass."""
        raise NotImplementedError

    def encode(self, batch: Triplets, x: Tensor) -> Encoding:
        """Adds the two views."""
        encoding = super().encode(batch, x)
        encoding.views = tuple(
            self.view(batch.graph, x) if batch.augment else encoding.layers for _ in range(2)
        )
        return encoding

    def losses(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``ssl``."""
        first, second = map(sum_layers, encoding.views)
        temperature, negatives = self.config.temperature, self.contrasts_negatives
        loss = contrast_views(first, second, batch, temperature, negatives)
        return {"ssl": self.config.weight * loss}


def item_layers(backbone: Backbone, self_loops: bool = False) -> list[Tensor]:
    r"""The layers :math:`E^0, \ldots, E^{L-1}` of the items, each divided by the root of the items'
    degrees, as what a user gets from them; of shape :math:`(I, d)`.
    """
    graph = backbone.graph
    degree = graph.degree[graph.num_users :] + int(self_loops)
    layers = backbone().layers[:-1]
    scale = degree.to(layers[0].dtype).clamp(min=1).rsqrt().view(-1, 1)
    return [layer[graph.num_users :] * scale for layer in layers]


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
        conv (WeightedSumConv): The layer. Without ``perturb`` it is called once for all layers.
        x (Tensor): :math:`E^0`, shape :math:`(N, d)`.
        adjacencies (sequence of Adjacency): :math:`A_0, \ldots, A_{L-1}`.
        perturb (callable, optional): Changes each layer after it was computed. (default: none)

    Returns:
        :math:`E^0, \ldots, E^L`, each of shape :math:`(N, d)`.
    """
    if perturb is None:
        return x, *conv(x, adjacencies)
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
