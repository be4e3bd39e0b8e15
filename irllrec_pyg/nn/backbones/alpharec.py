"""AlphaRec."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from ..batch import Triplets
from ..conv import spmm
from ..features import text_features
from ..graph import InteractionGraph
from ..losses import normalize, sampled_softmax
from ..mlp import TextMLP
from .base import Encoding
from .lightgcn import LightGCN


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

    Args:
        data (HeteroData): Data set with profile embeddings ``x`` of items, whose training
            interactions make the graph.
        embedding_size (int, optional): Width of the embeddings. (default: ``32``)
        num_layers (int, optional): Number of propagations :math:`L`. (default: ``2``)
        keep_rate (float, optional): Share of directed edges kept in training.
            (default: ``1.0``)
        temperature (float, optional): Of the softmax. (default: ``0.15``)
        hidden_ratio (float, optional): Width of the hidden layer over that of the texts.
            (default: ``0.5``)
        cosine (bool, optional): If set, scores are cosines as in the authors' code; the published
            copy takes plain dot products. (default: ``False``)

    Raises:
        MissingTextError: If the items have no profile embeddings.
    """

    features: Tensor

    def __init__(
        self,
        data: HeteroData,
        embedding_size: int = 32,
        num_layers: int = 2,
        keep_rate: float = 1.0,
        temperature: float = 0.15,
        hidden_ratio: float = 0.5,
        cosine: bool = False,
    ) -> None:
        super().__init__(data, embedding_size, num_layers, keep_rate, learns_embedding=False)
        self.temperature = temperature
        self.cosine = cosine
        users = self.graph.num_users
        item = text_features(data, "x", sides=["item"])
        nodes = torch.cat([item.new_zeros(users, item.size(1)), item])
        share = 1 / self.graph.degree.clamp(min=1).to(item.dtype)
        nodes[:users] = spmm(self.graph.matrix(share[self.graph.row]), nodes)[:users]
        self.register_buffer("features", nodes, persistent=False)
        self.mlp = TextMLP(item.size(1), embedding_size, max(1, int(item.size(1) * hidden_ratio)))

    def reset_parameters(self) -> None:
        """Draws a new map."""
        super().reset_parameters()
        self.mlp.reset_parameters()

    def inputs(self, graph: InteractionGraph) -> Tensor:
        r"""The mapped texts :math:`E^0`, shape :math:`(N, d)`."""
        features = self.features if graph.n_id is None else self.features[graph.n_id]
        out: Tensor = self.mlp(features)
        return out.to(features.dtype)

    def forward(
        self, graph: InteractionGraph | None = None, x: Tensor | None = None, augment: bool = False
    ) -> Encoding:
        """Propagates ``num_layers`` times and averages the layers; see :class:`LightGCN`."""
        encoding = super().forward(graph, x, augment)
        nodes = encoding.nodes / len(encoding.layers)
        encoding.nodes = normalize(nodes) if self.cosine else nodes
        return encoding

    def ranking_loss(self, encoding: Encoding, batch: Triplets) -> Tensor:
        """The sampled softmax over cosines."""
        e = encoding.nodes
        negatives = F.embedding(batch.neg_node.view(batch.size, -1), e)
        return sampled_softmax(
            e.index_select(0, batch.user),
            e.index_select(0, batch.pos_node),
            negatives,
            self.temperature,
        )
