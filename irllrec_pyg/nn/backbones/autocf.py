"""AutoCF."""

from dataclasses import dataclass
from typing import Self

import torch
from pydantic import model_validator
from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import ConfigError, field
from ...registry import register
from ..batch import Triplets, select
from ..conv import GraphTransformerConv, WeightedSumConv
from ..fields import loss_weight
from ..graph import Adjacency, InteractionGraph
from ..losses import log_partition
from .base import Backbone, Encoding
from .masking import gumbel, local_global_scores, mask_edges, reconnect, without
from .propagation import propagate, sum_layers


@register("autocf")
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
    """

    class Config(Backbone.Config):
        num_layers: int = field(2, ge=0, le=100, help="number of propagations", search=(1, 4))
        num_transformers: int = field(1, ge=0, le=100, help="layers of the decoder", search=(1, 2))
        heads: int = field(4, ge=1, help="attention heads of the decoder, a divisor of the width")
        num_seeds: int = field(100, ge=1, help="nodes at which masking starts")
        mask_depth: int = field(2, ge=1, le=100, help="hops of edges that are removed")
        keep_rate: float = field(0.2, gt=0, le=1, help="share of further nodes that are connected")
        redraw_every: int = field(10, ge=1, help="batches that share their graphs")
        weight: float = loss_weight(1.0, 0.1, 10, of="the loss that keeps embeddings apart")

        @model_validator(mode="after")
        def _check_heads(self) -> Self:
            if self.embedding_size % self.heads:
                raise ConfigError(
                    f"'heads' must divide 'embedding_size' = {self.embedding_size}, got "
                    f"{self.heads}.",
                    "heads",
                )
            return self

    config: Config

    def build(self, data: HeteroData) -> None:
        """Makes the layers of encoder and decoder."""
        self.conv = WeightedSumConv()
        self.transformers = torch.nn.ModuleList(
            GraphTransformerConv(self.embedding_size, self.config.heads)
            for _ in range(self.config.num_transformers)
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

    def run(self, graph: InteractionGraph, x: Tensor, augment: bool) -> Encoding:
        """Encodes and decodes; with ``augment``, a call is a batch."""
        encoder, decoder, infomax = graph.adjacency(x.dtype), graph, x.new_zeros(())
        if augment:
            encoder, decoder, infomax = self._masked(graph)
        layers = list(propagate(self.conv, x, [encoder] * self.config.num_layers))
        for transformer in self.transformers:
            layers.append(transformer(layers[-1], decoder))
        return Encoding(sum_layers(layers), tuple(layers), losses={"infomax": infomax})

    def _masked(self, graph: InteractionGraph) -> tuple[Adjacency, InteractionGraph, Tensor]:
        x = self.inputs(graph)
        due = self._step % self.config.redraw_every == 0
        self._step += 1
        drawn = self._drawn
        if not due and drawn is not None and drawn.of is graph and drawn.device == x.device:
            return drawn.encoder, drawn.decoder, x.new_zeros(())
        scores = gumbel(local_global_scores(graph, x))
        with torch.no_grad():
            seeds = scores.topk(min(self.config.num_seeds, graph.num_nodes)).indices
            keep, nodes = mask_edges(graph, seeds, self.config.mask_depth)
            # With replacement, as published: fewer distinct nodes than the rate says.
            others = torch.randint(
                graph.num_nodes, (int(self.config.keep_rate * graph.num_nodes),), device=x.device
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
        loss = self.config.weight * (log_partition(users, user) + log_partition(items, item))
        loss = loss + log_partition(users, item, batch.users.count)
        return {"ssl": loss, **encoding.losses}


@dataclass
class _Drawn:
    """Graphs that several batches share."""

    of: InteractionGraph
    device: torch.device
    encoder: Adjacency
    decoder: InteractionGraph
