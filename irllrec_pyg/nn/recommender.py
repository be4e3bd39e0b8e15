"""A model is the sum of a backbone and heads."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from .backbones import Backbone, Encoding
from .batch import Triplets
from .graph import EDGE_TYPE
from .heads import Head
from .losses import sum_of_squares
from .ranker import DotProductRanker
from .ranking_loss import InBatchSoftmax
from .subgraph import Subgraph


class Recommender(DotProductRanker):
    r"""A graph recommender with any number of alignment heads.

    Args:
        backbone (Backbone): Turns the graph into node embeddings.
        heads (sequence of Head, optional): Add losses in training; inference does not use them.
            (default: none)
        reg_weight (float, optional): Weight of :math:`\sum \|\theta\|^2` over all trainable
            parameters. (default: ``0.0``)
        ranking_loss (InBatchSoftmax, optional): Takes the place of the backbone's own ranking
            loss. (default: ``None``)

    Example:
        >>> data = IRLLRecDataset(root, name="movie")[0]
        >>> backbone = LightGCN(data, embedding_size=32, num_layers=3)
        >>> model = Recommender(backbone, [ProfileAlignment(data, backbone.out_channels)])
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: Sequence[Head] = (),
        reg_weight: float = 0.0,
        ranking_loss: InBatchSoftmax | None = None,
    ) -> None:
        graph = backbone.graph
        row, col = graph.row[graph.row < graph.num_users], graph.col[graph.row < graph.num_users]
        super().__init__(
            torch.stack([row, col - graph.num_users]),
            graph.num_users,
            graph.num_items,
            backbone.user_ids,
            backbone.item_ids,
        )
        self.backbone = backbone
        self.heads: Iterable[Head] = torch.nn.ModuleList(heads)  # type: ignore[assignment]
        self.reg_weight = reg_weight
        self.ranking_loss = ranking_loss

    def begin_epoch(self) -> None:
        """Tells the backbone and the heads that an epoch begins."""
        self.backbone.begin_epoch()
        for head in self.heads:
            head.begin_epoch()

    def begin_step(self) -> None:
        """Is called by the training loop when a step of the optimiser begins."""

    def losses(
        self,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
        augment: bool = True,
        masked_nodes: Tensor | None = None,
    ) -> dict[str, Tensor]:
        r"""Losses of a batch of triplets over the whole graph.

        In training mode, momentum teachers take their step here: call it once a training step.

        Args:
            user (Tensor): User ids, int64 of shape :math:`(B,)`.
            pos (Tensor): Items of the users, int64 of shape :math:`(B,)`.
            neg (Tensor): Items that the users do not have, int64 of shape :math:`(B,)` or
                :math:`(B, n)`.
            augment (bool, optional): Whether random augmentation is on. (default: ``True``)
            masked_nodes (Tensor, optional): Nodes (users first) whose input is masked, for
                :class:`ProfileReconstruction`. (default: drawn at random)

        Returns:
            Scalars by name, weighted as they enter ``total``: ``bpr`` (``softmax`` with
            :class:`InBatchSoftmax`), ``reg`` and what the backbone and the heads add.
        """
        return self._losses(Triplets(user, pos, neg, self.backbone.graph, augment, masked_nodes))

    def losses_from_batch(self, batch: HeteroData, augment: bool = True) -> dict[str, Tensor]:
        """Losses of a batch of :func:`irllrec_pyg.loader.triplet_loader`.

        A batch of triplets propagates over the whole graph, a batch with sampled neighbourhoods
        over its own; there, contrastive sums over "all users" or "all nodes" run over those of
        the neighbourhood.
        """
        user, item = batch["user"], batch["item"]
        ids = user.src_index, item.dst_pos_index, item.dst_neg_index
        if "edge_weight" in batch[EDGE_TYPE]:
            graph = Subgraph.from_batch(batch, self.num_users)
            return self._losses(Triplets(*ids, graph, augment))
        return self.losses(user.n_id[ids[0]], item.n_id[ids[1]], item.n_id[ids[2]], augment)

    def _losses(self, batch: Triplets) -> dict[str, Tensor]:
        x = self.backbone.inputs(batch.graph)
        for head in self.heads:
            x = head.corrupt(x, batch)
        encoding = self.backbone.encode(batch, x)
        losses = {
            **self._rank(encoding, batch),
            "reg": self._penalty(),
            **self.backbone.losses(encoding, batch),
        }
        for head in self.heads:
            losses.update(head(encoding, batch))
        return {**losses, "total": torch.stack(list(losses.values())).sum()}

    def _rank(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        if self.ranking_loss is None:
            return {"bpr": self.backbone.ranking_loss(encoding, batch)}
        return {self.ranking_loss.name: self.ranking_loss(encoding, batch, self)}

    def _penalty(self) -> Tensor:
        norms = [
            sum_of_squares(parameter) for parameter in self.parameters() if parameter.requires_grad
        ]
        return self.reg_weight * torch.stack(norms).sum()

    def embed(self) -> tuple[Tensor, Tensor]:
        r"""Final embeddings of users :math:`(U, d)` and items :math:`(I, d)`."""
        nodes = self.backbone().nodes
        return nodes[: self.num_users], nodes[self.num_users :]
