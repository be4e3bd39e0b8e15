"""Any PyG model as a recommender."""

import inspect

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..graph import InteractionGraph
from .base import Backbone, Encoding


class GNNBackbone(Backbone):
    r"""Turns any graph neural network ``x, edge_index -> x`` into a backbone.

    The network runs on the homogeneous training graph (users first, both directions) and on
    learnable node embeddings. Scores are dot products of its output, and every alignment head
    works on top; for heads that read layers, these are ``[input, output]``.

    Args:
        gnn (torch.nn.Module): Called as ``gnn(x, edge_index)``, or as ``gnn(x, edge_index,
            edge_weight=w)`` with the symmetrically normalised weights where ``edge_weight`` is
            set. Its input width is ``embedding_size``.
        data (HeteroData): Data set whose training interactions make the graph.
        embedding_size (int, optional): Width of the learnable embeddings. (default: ``32``)
        edge_weight (bool, optional): Whether to pass edge weights. (default: ``False``)

    Example:
        >>> from torch_geometric.nn import GAT
        >>> backbone = GNNBackbone(GAT(32, 32, num_layers=2), data)

    Raises:
        ValueError: If the network's output is not as wide as its input (heads compare both) or
            it does not take ``edge_weight`` though asked to.
    """

    def __init__(
        self,
        gnn: torch.nn.Module,
        data: HeteroData,
        embedding_size: int = 32,
        edge_weight: bool = False,
    ) -> None:
        super().__init__(data, embedding_size)
        if edge_weight and "edge_weight" not in inspect.signature(gnn.forward).parameters:
            raise ValueError(f"{type(gnn).__name__}.forward takes no 'edge_weight'.")
        self.gnn = gnn
        self.edge_weight = edge_weight
        mode = gnn.training
        with torch.no_grad():
            edge_index = torch.tensor([[0, 1], [1, 0]])
            width = gnn.eval()(self.embedding[:2], edge_index).size(-1)
        gnn.train(mode)
        if width != embedding_size:
            raise ValueError(
                f"{type(gnn).__name__} returns {width} columns for "
                f"'embedding_size'={embedding_size}; both must be equal."
            )

    def forward(
        self, graph: InteractionGraph | None = None, x: Tensor | None = None, augment: bool = False
    ) -> Encoding:
        """Runs the network; it has no augmentation. See :class:`Backbone`."""
        graph = graph or self.graph
        x = self.inputs(graph) if x is None else x
        weight = {"edge_weight": graph.normalized(x.dtype)} if self.edge_weight else {}
        out = self.gnn(x, graph.edge_index, **weight)
        return Encoding(out, (x, out))
