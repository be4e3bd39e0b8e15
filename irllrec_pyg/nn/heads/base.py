"""What every head shares."""

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import Settings
from ...registry import Configured
from ..backbones import Backbone, Encoding
from ..batch import Triplets, select
from ..features import text_features
from ..losses import info_nce
from ..snapshot import Snapshot


class Head(Configured, torch.nn.Module):
    """Base class of losses that tie a backbone's embeddings to language.

    Args:
        data (HeteroData): Data set with the texts that the head needs.
        backbone (Backbone): The backbone whose embeddings it reads; the head takes its widths
            from it (``out_channels``, ``embedding_size``), and its ``intents`` where it has some.
        config (Config or mapping, optional): Settings. (default: those of the class)
        **settings: Settings that take the place of these.

    Raises:
        ConfigError: If a setting is unknown or out of its bounds; it is named.
    """

    kind = "head"

    class Config(Configured.Config):
        """No settings."""

    config: Config

    def __init__(
        self, data: HeteroData, backbone: Backbone, config: Settings = None, **settings: Any
    ) -> None:
        super().__init__()
        self.config = self.Config.read(config, **settings)
        self.build(data, backbone)

    def build(self, data: HeteroData, backbone: Backbone) -> None:
        """Makes what the head consists of; is called once."""

    def begin_epoch(self) -> None:
        """Is called by the training loop when an epoch begins."""

    def begin_step(self) -> None:
        """Is called when a training step begins, possibly several times: teachers move here."""

    def corrupt(self, x: Tensor, batch: Triplets) -> Tensor:
        r"""May change the backbone's input :math:`E^0`, of shape :math:`(N, d)`, in training."""
        return x

    def forward(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """Weighted scalar losses by name."""
        raise NotImplementedError


class TextHead(Head):
    """Base class of heads with text features of the nodes.

    The texts of ``data`` are kept as the non-persistent buffer ``features``, users first, of shape
    :math:`(N, T)`: checkpoints do not hold them.

    Raises:
        MissingTextError: If the data set has no such texts.
    """

    text_field: ClassVar[str] = "x"  #: Which texts: ``"x"`` or ``"intent"``.
    features: Tensor

    def build(self, data: HeteroData, backbone: Backbone) -> None:
        """Takes the texts."""
        self.register_buffer("features", text_features(data, self.text_field), persistent=False)
        self._narrow: Tensor | None = None
        self._narrowed = Snapshot()

    def text_of(self, batch: Triplets, nodes: Tensor | slice) -> Tensor:
        """Features of some nodes of the batch's graph, shape :math:`(M, T)`; under autocast in its
        dtype.
        """
        features = self._in_dtype_of_products()
        if batch.graph.n_id is not None:
            nodes = batch.graph.n_id[nodes]
        return features[nodes] if isinstance(nodes, slice) else features.index_select(0, nodes)

    def _in_dtype_of_products(self) -> Tensor:
        # Texts are frozen: autocast would round the same rows at every step (see
        # `benchmarks/speed.py --model lightgcn_plus --precision bf16-mixed`).
        device = self.features.device.type
        if not torch.is_autocast_enabled(device) or self.features.dtype == torch.float64:
            return self.features
        narrow: Tensor = self._cast(torch.get_autocast_dtype(device))
        return narrow

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # compiled code knows no version counters
    def _cast(self, dtype: torch.dtype) -> Tensor:
        kept = self._narrow
        if kept is None or kept.dtype != dtype or not self._narrowed.matches(self.features):
            with torch.inference_mode(False):  # what is kept must serve training too
                self._narrow = kept = self.features.to(dtype)
            self._narrowed = Snapshot(self.features)
        return kept

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
