"""BIGCF."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import field
from ...registry import register
from ..batch import Triplets, select
from ..fields import loss_weight, prototypes_on_each_side, temperature_of
from ..graph import InteractionGraph
from ..losses import ssl_loss
from .base import Encoding
from .intents import IntentPrototypes
from .propagation import LayerSum


@register("bigcf")
class BIGCF(LayerSum):
    r"""The BIGCF model from the `"Exploring the Individuality and Collectivity of Intents behind
    Interactions for Graph Collaborative Filtering" <https://arxiv.org/abs/2405.09042>`_ paper.

    With the sum of layers :math:`\mathbf{E}` of :class:`LightGCN` and intent prototypes
    :math:`\mathbf{C}` of users and of items,

    .. math::
        \mathbf{H} = \mathrm{softmax}(\mathbf{E} \mathbf{C}) \, \mathbf{C}^{\top}, \qquad
        \mathbf{E}' = \mathbf{E} + \mathbf{H} \odot \boldsymbol{\epsilon}, \qquad
        \boldsymbol{\epsilon} \sim \mathcal{N}(0, 1)

    ranks. Its own losses contrast the batch's users and positive items with themselves and with
    each other,

    .. math::
        \mathcal{L}_{ssl} = w \big[ q(u, u) + q(i, i) + q(u, i) \text{ on } \mathbf{E}'
        \; + \; q(u, u) + q(i, i) \text{ on } \mathbf{H} \big], \qquad
        \mathcal{L}_{center} = w_c \big( \|\mathbf{C}_U\|^2 + \|\mathbf{C}_I\|^2 \big)

    with :math:`q` = :func:`~irllrec_pyg.nn.losses.ssl_loss`. The published code draws
    :math:`\boldsymbol{\epsilon}` at evaluation too, so that the same model ranks differently at
    every call; here it is zero without augmentation. The published variant with reconstruction
    masks nodes but encodes the unmasked ones; here the masked ones are encoded.
    """

    intents: IntentPrototypes

    class Config(LayerSum.Config):
        num_intents: int = prototypes_on_each_side()
        weight: float = loss_weight(0.05, 1e-3, 1.0, of="the contrastive loss")
        temperature: float = temperature_of("the contrastive sums", 0.2, 0.1, 0.5)
        center_weight: float = field(1e-5, ge=0, help="weight of the prototypes' squares")

    config: Config

    def build(self, data: HeteroData) -> None:
        """Makes the prototypes."""
        super().build(data)
        self.intents = IntentPrototypes(self.embedding_size, self.config.num_intents)

    def run(self, graph: InteractionGraph, x: Tensor, augment: bool) -> Encoding:
        """Propagates and adds intents with random signs and sizes."""
        encoding = super().run(graph, x, augment)
        encoding.intents = self.intents
        if not augment:
            return encoding  # with zero noise the intents do not enter the scores
        hidden = self.intents(encoding.nodes, graph.num_users)
        encoding.views = ((hidden,),)
        encoding.nodes = encoding.nodes + hidden * torch.randn_like(encoding.nodes)
        return encoding

    def losses(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The losses ``ssl`` and ``center``."""
        e = encoding.nodes
        hidden = encoding.views[0][0] if encoding.views else self.intents(e, batch.graph.num_users)
        users, items = batch.users, batch.pos_items
        loss = ssl_loss(
            e.index_select(0, batch.user),
            e.index_select(0, batch.pos_node),
            self.config.temperature,
            candidates=items.of(e),
            candidate_weight=items.count,
        )
        for nodes in (e, hidden):
            for rows, x in zip((users, items), select(nodes, users, items), strict=True):
                loss = loss + ssl_loss(x, x, self.config.temperature, weight=rows.count)
        center = self.intents.user.square().sum() + self.intents.item.square().sum()
        return {"ssl": self.config.weight * loss, "center": self.config.center_weight * center}
