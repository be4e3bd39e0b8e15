"""AlphaRec."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import field
from ...edges import EDGE_TYPE
from ...ranking.fold_in import FoldIn
from ...registry import register
from ..batch import Triplets
from ..features import text_features, user_means
from ..fields import temperature_of
from ..graph import InteractionGraph
from ..losses import sampled_softmax
from ..mlp import TextMLP
from .base import Encoding
from .lightgcn import LightGCN
from .propagation import item_layers, sum_layers


@register("alpharec")
class AlphaRec(LightGCN):
    r"""The AlphaRec model from the `"Language Representations Can be What Recommenders Need:
    Findings and Potentials" <https://arxiv.org/abs/2407.05441>`_ paper.

    Nodes have no embeddings of their own. An item's input is its text embedding
    :math:`\mathbf{s}_i`, a user's is the mean over their training items, and one map serves both:

    .. math::
        \mathbf{E}^0 = \mathrm{MLP}(\mathbf{S}), \qquad
        \mathbf{E}^{l+1} = \hat{\mathbf{A}} \mathbf{E}^{l}, \qquad
        \mathbf{E} = \frac{1}{L + 1} \sum_{l=0}^{L} \mathbf{E}^{l}

    It ranks by a softmax over cosines with the positive item and the negatives of each triplet
    (:func:`~irllrec_pyg.nn.losses.sampled_softmax`), which needs many of them: the authors take
    256. The published copy of RLMRec's authors hands it a single one, where its loss cannot run.

    Raises:
        MissingTextError: If the items have no profile embeddings.
    """

    features: Tensor

    learns_embedding = False

    class Config(LightGCN.Config):
        init: Literal["text"] = field("text", help="there are no embeddings but those of texts")
        num_layers: int = field(2, ge=0, le=100, help="number of propagations", search=(1, 4))
        temperature: float = temperature_of("the softmax", 0.15, 0.05, 0.5)
        hidden_ratio: float = field(
            0.5, gt=0, le=100, help="width of the hidden layer over that of the texts"
        )

    config: Config

    def build(self, data: HeteroData) -> None:
        """Takes the texts, and makes the map."""
        super().build(data)
        item = text_features(data, "x", sides=["item"])
        user = user_means(item, data[EDGE_TYPE].edge_index, self.graph.num_users)
        self.register_buffer("features", torch.cat([user, item]), persistent=False)
        hidden = max(1, int(item.size(1) * self.config.hidden_ratio))
        self.mlp = TextMLP(item.size(1), self.embedding_size, hidden)

    def reset_parameters(self) -> None:
        """Draws a new map."""
        super().reset_parameters()
        self.mlp.reset_parameters()

    def inputs(self, graph: InteractionGraph) -> Tensor:
        r"""The mapped texts :math:`E^0`, shape :math:`(N, d)`."""
        features = self.features if graph.n_id is None else self.features[graph.n_id]
        out: Tensor = self.mlp(features)
        return out.to(features.dtype)

    def run(self, graph: InteractionGraph, x: Tensor, augment: bool) -> Encoding:
        """Propagates ``num_layers`` times and averages the layers."""
        encoding = super().run(graph, x, augment)
        encoding.nodes = encoding.nodes / len(encoding.layers)
        return encoding

    @property
    def folds_in(self) -> bool:
        """Always: texts are mapped also where nothing is propagated."""
        return True

    def fold_in(self) -> FoldIn:
        """One propagation from a history's items, and the map of the mean of their texts; see
        :class:`~irllrec_pyg.ranking.FoldIn`.
        """
        weights = {name: value.detach() for name, value in self.mlp.named_parameters()}
        item = self.features[self.graph.num_users :]
        text = {
            "text": item,
            "weight_in": weights["0.weight"],
            "bias_in": weights["0.bias"],
            "weight_out": weights["2.weight"],
            "bias_out": weights["2.bias"],
        }
        layers = item_layers(self)
        total = sum_layers(layers) if layers else item.new_zeros(len(item), self.embedding_size)
        return FoldIn(total, self.config.num_layers, "mean", text=text)

    @property
    def text_width(self) -> int:
        """Width of the texts."""
        return self.features.size(1)

    def add_items(self, ids: list[int | str], texts: Tensor) -> None:
        """Adds items without interactions: their embeddings are those of their texts."""
        graph = self.graph
        pairs = graph.interactions
        self.graph = InteractionGraph(pairs, graph.num_users, len(ids)).to(pairs.device)
        self.features = torch.cat([self.features, texts.to(self.features)])
        self.item_ids = ids

    def ranking_loss(self, encoding: Encoding, batch: Triplets) -> Tensor:
        """The sampled softmax over cosines."""
        e = encoding.nodes
        negatives = F.embedding(batch.neg_node.view(batch.size, -1), e)
        return sampled_softmax(
            e.index_select(0, batch.user),
            e.index_select(0, batch.pos_node),
            negatives,
            self.config.temperature,
        )
