"""BIGCF."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..batch import Triplets, select
from ..graph import InteractionGraph
from ..losses import ssl_loss
from .base import Encoding
from .intents import IntentPrototypes
from .lightgcn import LightGCN


class BIGCF(LightGCN):
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

    Args:
        data (HeteroData): Data set whose training interactions make the graph.
        embedding_size (int, optional): Width of the embeddings. (default: ``32``)
        num_layers (int, optional): Number of propagations :math:`L`. (default: ``3``)
        num_intents (int, optional): Prototypes on each side. (default: ``128``)
        weight (float, optional): :math:`w`. (default: ``0.05``)
        temperature (float, optional): Of the contrastive sums. (default: ``0.2``)
        center_weight (float, optional): :math:`w_c`. (default: ``1e-5``)
    """

    intents: IntentPrototypes

    def __init__(
        self,
        data: HeteroData,
        embedding_size: int = 32,
        num_layers: int = 3,
        num_intents: int = 128,
        weight: float = 0.05,
        temperature: float = 0.2,
        center_weight: float = 1e-5,
    ) -> None:
        super().__init__(data, embedding_size, num_layers)
        self.intents = IntentPrototypes(embedding_size, num_intents)
        self.weight = weight
        self.temperature = temperature
        self.center_weight = center_weight

    def forward(
        self, graph: InteractionGraph | None = None, x: Tensor | None = None, augment: bool = False
    ) -> Encoding:
        """Propagates and adds intents with random signs and sizes; see :class:`Backbone`."""
        graph = graph or self.graph
        encoding = super().forward(graph, x)
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
            self.temperature,
            candidates=items.of(e),
            candidate_weight=items.count,
        )
        for nodes in (e, hidden):
            for rows, x in zip((users, items), select(nodes, users, items), strict=True):
                loss = loss + ssl_loss(x, x, self.temperature, weight=rows.count)
        center = self.intents.user.square().sum() + self.intents.item.square().sum()
        return {"ssl": self.weight * loss, "center": self.center_weight * center}
