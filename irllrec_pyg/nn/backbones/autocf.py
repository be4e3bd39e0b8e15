"""AutoCF."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..batch import Triplets, select
from ..conv import GraphTransformerConv, WeightedSumConv
from ..graph import Adjacency, InteractionGraph
from ..losses import log_partition
from .base import Backbone, Encoding
from .masking import gumbel, local_global_scores, mask_edges, reconnect, without
from .propagation import check_rate, propagate, sum_layers


class AutoCF(Backbone):
    r"""The AutoCF model from the `"Automated Self-Supervised Learning for Recommendation"
    <https://arxiv.org/abs/2303.07797>`_ paper.

    An autoencoder of masked graphs: ``num_layers`` propagations over a graph with edges removed,
    then ``num_transformers`` layers of :class:`~irllrec_pyg.nn.GraphTransformerConv` over one that
    was filled up again; final embeddings are the sum of all layers. Without augmentation both
    graphs are :math:`\hat{A}`.

    The edges to remove are chosen anew every ``redraw_every`` batches, counted within an epoch:
    the ``num_seeds`` nodes with the best Gumbel-perturbed local-global scores (of
    :math:`\mathbf{E}^0`; see :func:`~irllrec_pyg.nn.backbones.masking.local_global_scores`) lose
    their edges, and their neighbours theirs, ``mask_depth`` hops in all. The decoder's graph has
    the edges that are left, self-loops, and as many random pairs as there were entries among the
    masked nodes and :math:`\lfloor \rho N \rfloor` others.

    It ranks by reconstruction (reported as ``bpr``) and keeps embeddings apart, with the
    batch's distinct users :math:`\mathcal{U}_B` and positive items :math:`\mathcal{I}_B`; negative
    items play no part.

    .. math::
        \mathcal{L}_{rec} = - \mathrm{mean}_b \; \mathbf{e}_u \cdot \mathbf{e}_{i^+}

    .. math::
        \mathcal{L}_{ssl} = w \big[ \mathrm{mean}_{u \in \mathcal{U}_B} \log \sum_{v \in
        \mathcal{U}} e^{\mathbf{e}_u \cdot \mathbf{e}_v} + \mathrm{mean}_{i \in \mathcal{I}_B}
        \log \sum_{j \in \mathcal{I}} e^{\mathbf{e}_i \cdot \mathbf{e}_j} \big] + \mathrm{mean}_b
        \log \sum_{j \in \mathcal{I}} e^{\mathbf{e}_u \cdot \mathbf{e}_j}

    Whenever the graphs are redrawn, the loss ``infomax`` is minus the mean of the noisy scores.
    A sampled neighbourhood is a graph of its own, for which they are always redrawn.

    Args:
        data (HeteroData): Data set whose training interactions make the graph.
        embedding_size (int, optional): Width of the embeddings. (default: ``32``)
        num_layers (int, optional): Number of propagations. (default: ``2``)
        num_transformers (int, optional): Number of decoder layers. (default: ``1``)
        heads (int, optional): Attention heads of the decoder. (default: ``4``)
        num_seeds (int, optional): Nodes to start masking at. (default: ``100``)
        mask_depth (int, optional): Hops of edges to remove. (default: ``2``)
        keep_rate (float, optional): :math:`\rho`. (default: ``0.2``)
        redraw_every (int, optional): Batches that share their graphs. (default: ``10``)
        weight (float, optional): :math:`w`. (default: ``1.0``)
    """

    def __init__(
        self,
        data: HeteroData,
        embedding_size: int = 32,
        num_layers: int = 2,
        num_transformers: int = 1,
        heads: int = 4,
        num_seeds: int = 100,
        mask_depth: int = 2,
        keep_rate: float = 0.2,
        redraw_every: int = 10,
        weight: float = 1.0,
    ) -> None:
        super().__init__(data, embedding_size)
        check_rate("keep_rate", keep_rate)
        if redraw_every < 1:
            raise ValueError(f"'redraw_every' must be at least 1, got {redraw_every}.")
        self.num_layers = num_layers
        self.num_seeds, self.mask_depth, self.keep_rate = num_seeds, mask_depth, keep_rate
        self.redraw_every = redraw_every
        self.weight = weight
        self.conv = WeightedSumConv()
        self.transformers = torch.nn.ModuleList(
            GraphTransformerConv(embedding_size, heads) for _ in range(num_transformers)
        )
        self._step = 0
        self._drawn: _Drawn | None = None

    def reset_parameters(self) -> None:
        """Draws new embeddings and new weights of the decoder."""
        super().reset_parameters()
        for transformer in self.transformers:
            transformer.reset_parameters()  # type: ignore[operator]

    def begin_epoch(self) -> None:
        """The first batch of an epoch redraws."""
        self._step = 0

    def forward(
        self, graph: InteractionGraph | None = None, x: Tensor | None = None, augment: bool = False
    ) -> Encoding:
        """Encodes and decodes; with ``augment``, a call is a batch. See :class:`Backbone`."""
        graph = graph or self.graph
        x = self.inputs(graph) if x is None else x
        encoder, decoder, infomax = graph.adjacency(x.dtype), graph, x.new_zeros(())
        if augment:
            encoder, decoder, infomax = self._masked(graph)
        layers = list(propagate(self.conv, x, [encoder] * self.num_layers))
        for transformer in self.transformers:
            layers.append(transformer(layers[-1], decoder))
        return Encoding(sum_layers(layers), tuple(layers), losses={"infomax": infomax})

    def _masked(self, graph: InteractionGraph) -> tuple[Adjacency, InteractionGraph, Tensor]:
        x = self.inputs(graph)
        due = self._step % self.redraw_every == 0
        self._step += 1
        drawn = self._drawn
        if not due and drawn is not None and drawn.of is graph and drawn.device == x.device:
            return drawn.encoder, drawn.decoder, x.new_zeros(())
        scores = gumbel(local_global_scores(graph, x))
        with torch.no_grad():
            seeds = scores.topk(min(self.num_seeds, graph.num_nodes)).indices
            keep, nodes = mask_edges(graph, seeds, self.mask_depth)
            # With replacement, as published: fewer distinct nodes than the rate says.
            others = torch.randint(
                graph.num_nodes, (int(self.keep_rate * graph.num_nodes),), device=x.device
            )
            nodes[others] = True
            self._drawn = _Drawn(
                graph,
                x.device,
                without(graph, keep, x.dtype),
                reconnect(graph, keep, nodes.nonzero().view(-1)),
            )
        return self._drawn.encoder, self._drawn.decoder, -scores.mean()

    def ranking_loss(self, encoding: Encoding, batch: Triplets) -> Tensor:
        """Reconstruction of the interactions."""
        e = encoding.nodes
        return -(e.index_select(0, batch.user) * e.index_select(0, batch.pos_node)).sum(1).mean()

    def losses(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The losses ``ssl`` and ``infomax``."""
        user, item = encoding.nodes.split([batch.graph.num_users, batch.graph.num_items])
        users, items = select(encoding.nodes, batch.users, batch.pos_items)
        loss = self.weight * (log_partition(users, user) + log_partition(items, item))
        loss = loss + log_partition(users, item, batch.users.count)
        return {"ssl": loss, **encoding.losses}


@dataclass
class _Drawn:
    """Graphs that several batches share."""

    of: InteractionGraph
    device: torch.device
    encoder: Adjacency
    decoder: InteractionGraph
