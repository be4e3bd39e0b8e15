"""What every head shares."""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from ..backbones import Encoding
from ..batch import Triplets, select
from ..features import stamp
from ..losses import info_nce


class Head(torch.nn.Module):
    """Base class of losses that tie a backbone's embeddings to language.

    A head owns its parameters and takes its texts at construction, where it fails if they are
    missing. Texts are kept as non-persistent buffers: checkpoints do not hold them.
    """

    def begin_epoch(self) -> None:
        """Is called by the training loop when an epoch begins."""

    def corrupt(self, x: Tensor, batch: Triplets) -> Tensor:
        r"""May change the backbone's input :math:`E^0`, of shape :math:`(N, d)`, in training."""
        return x

    def forward(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """Weighted scalar losses by name."""
        raise NotImplementedError


class TextHead(Head):
    """A head with text features of the nodes.

    Args:
        features (Tensor): Text embeddings, users first, shape :math:`(N, T)`.
    """

    features: Tensor

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.register_buffer("features", features, persistent=False)
        self._narrow: tuple[tuple[Any, ...], Tensor] | None = None

    def text_of(self, batch: Triplets, nodes: Tensor | slice) -> Tensor:
        """Features of some nodes of the batch's graph, shape :math:`(M, T)`; under autocast in its
        dtype.
        """
        features = self._in_dtype_of_products()
        if batch.graph.n_id is not None:
            nodes = batch.graph.n_id[nodes]
        return features[nodes] if isinstance(nodes, slice) else features.index_select(0, nodes)

    def _in_dtype_of_products(self) -> Tensor:
        # Texts are frozen: autocast would round the same rows at every step.
        device = self.features.device.type
        if not torch.is_autocast_enabled(device) or self.features.dtype == torch.float64:
            return self.features
        dtype = torch.get_autocast_dtype(device)
        key = *stamp(self.features), dtype
        if self._narrow is None or self._narrow[0] != key:
            with torch.inference_mode(False):  # what is kept must serve training too
                self._narrow = key, self.features.to(dtype)
        return self._narrow[1]

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._narrow = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def encode(self, mlp: torch.nn.Module, batch: Triplets, negatives: bool = True) -> "TextRows":
        """Maps the texts that :func:`align` compares: all users and the batch's items."""
        items = batch.items.index if negatives else batch.pos_items.index
        user = mlp(self.text_of(batch, slice(batch.graph.num_users)))
        return TextRows(user, mlp(self.text_of(batch, items)), items)


class TextRows(NamedTuple):
    """Mapped texts of all users and of some items.

    Args:
        user (Tensor): One row a user of the graph, shape :math:`(U, d)`.
        item (Tensor): One row for each of ``item_node``, shape :math:`(M, d)`.
        item_node (Tensor): Ascending node ids, shape :math:`(M,)`.
    """

    user: Tensor
    item: Tensor
    item_node: Tensor

    def of_items(self, node: Tensor) -> Tensor:
        """Rows of some item nodes, each of which must be in ``item_node``."""
        return self.item.index_select(0, torch.searchsorted(self.item_node, node))


def align(
    nodes: Tensor, text: TextRows, batch: Triplets, temperature: float, negatives: bool = True
) -> Tensor:
    r"""The contrastive alignment that RLMRec-Con and IRLLRec's pairwise part share.

    .. math::
        \frac{1}{B} \big[ \mathrm{nce}(e_u, p_u, \text{all users' } p)
        + \mathrm{nce}(e_{i^+}, p_{i^+}, \text{the batch's } p_{i^+})
        + \mathrm{nce}(e_{i^-}, p_{i^-}, \text{the batch's } p_{i^-}) \big]

    Nodes that a batch repeats enter once, with their multiplicity.

    Args:
        nodes (Tensor): :math:`e` of all nodes, shape :math:`(N, d)`.
        text (TextRows): :math:`p`.
        batch (Triplets): The triplets.
        temperature (float): Of the contrastive sums.
        negatives (bool, optional): Whether the negative items take part. (default: ``True``)
    """
    users = batch.users
    sides = (batch.pos_items, batch.neg_items) if negatives else (batch.pos_items,)
    user, *rest = select(nodes, users, *sides)
    total = info_nce(user, users.of(text.user), text.user, temperature, weight=users.count)
    for items, x in zip(sides, rest, strict=True):
        profile = text.of_items(items.index)
        total = total + info_nce(
            x, profile, profile, temperature, weight=items.count, candidate_weight=items.count
        )
    return total / batch.size
