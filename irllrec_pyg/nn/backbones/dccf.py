"""DCCF."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import field
from ...registry import register
from ..batch import Triplets, select
from ..conv import AdaptiveConv, WeightedSumConv
from ..fields import loss_weight, prototypes_on_each_side, temperature_of
from ..graph import InteractionGraph
from ..losses import info_nce
from .base import Backbone, Encoding
from .intents import IntentPrototypes
from .propagation import sum_layers


@register("dccf")
class DCCF(Backbone):
    r"""The DCCF model from the `"Disentangled Contrastive Collaborative Filtering"
    <https://arxiv.org/abs/2305.02759>`_ paper.

    In every layer, with intent prototypes :math:`\mathbf{C}` of users and of items and the
    adaptive adjacency :math:`\tilde{A}` of :class:`~irllrec_pyg.nn.AdaptiveConv`,

    .. math::
        \mathbf{g} = \hat{\mathbf{A}} \mathbf{E}^l, \quad
        \mathbf{h} = \mathrm{softmax}(\mathbf{E}^l \mathbf{C}) \, \mathbf{C}^{\top}, \quad
        \mathbf{g}^a = \tilde{\mathbf{A}}(\mathbf{g}) \, \mathbf{E}^l, \quad
        \mathbf{h}^a = \tilde{\mathbf{A}}(\mathbf{h}) \, \mathbf{E}^l

    .. math::
        \mathbf{E}^{l+1} = \mathbf{g} + \mathbf{h} + \mathbf{g}^a + \mathbf{h}^a + \mathbf{E}^l,
        \qquad \mathbf{E} = \sum_{l=0}^{L} \mathbf{E}^{l}

    Its own loss contrasts :math:`\mathbf{g}` with the three others on the batch's distinct users
    :math:`\mathcal{U}_B` and distinct positive items :math:`\mathcal{I}_B`:

    .. math::
        \mathcal{L}_{ssl} = \frac{w}{|\mathcal{U}_B|} \sum_l \sum_{\mathbf{y} \in \{\mathbf{h},
        \mathbf{g}^a, \mathbf{h}^a\}} \big[ \mathrm{nce}(\mathbf{g}_u, \mathbf{y}_u, \mathbf{y}_u)
        + \mathrm{nce}(\mathbf{g}_i, \mathbf{y}_i, \mathbf{y}_i) \big]

    As published, the items' part too is divided by the number of *users*.
    """

    intents: IntentPrototypes

    class Config(Backbone.Config):
        num_layers: int = field(2, ge=1, le=100, help="number of layers", search=(1, 4))
        num_intents: int = prototypes_on_each_side()
        weight: float = loss_weight(0.001, 1e-3, 1.0, of="the contrastive loss")
        temperature: float = temperature_of("the contrastive sums", 0.1, 0.1, 0.5)

    config: Config

    def build(self, data: HeteroData) -> None:
        """Makes prototypes and layers."""
        self.intents = IntentPrototypes(self.embedding_size, self.config.num_intents)
        self.conv = WeightedSumConv()
        self.adaptive = AdaptiveConv()

    def run(self, graph: InteractionGraph, x: Tensor, augment: bool) -> Encoding:
        """Adds the four branches layer by layer; nothing is random."""
        layers, adjacency = [x], graph.adjacency(x.dtype)
        branches: list[tuple[Tensor, ...]] = []
        for _ in range(self.config.num_layers):
            x = layers[-1]
            g, h = self.conv(x, adjacency), self.intents(x, graph.num_users)
            branches.append((g, h, self.adaptive(x, g, graph), self.adaptive(x, h, graph)))
            layers.append(sum_layers([*branches[-1], x]))
        views = tuple(zip(*branches, strict=True))
        return Encoding(sum_layers(layers), tuple(layers), views, self.intents, views[3])

    def losses(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``ssl``."""
        anchors, *others = (
            [select(nodes, batch.users, batch.pos_items) for nodes in view]
            for view in encoding.views
        )
        losses = [
            info_nce(g, y, y, self.config.temperature)
            for view in others
            for layer in zip(anchors, view, strict=True)
            for g, y in zip(*layer, strict=True)
        ]
        return {"ssl": self.config.weight * torch.stack(losses).sum() / batch.users.index.numel()}
