"""What every backbone shares: embeddings, the graph, and the ranking loss."""

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import Settings, field
from ...edges import EDGE_TYPE, known_pairs
from ...ranking.fold_in import FoldIn
from ...registry import Configured
from ..batch import Triplets
from ..features import principal_components, text_features, user_means
from ..graph import InteractionGraph
from ..losses import bpr
from .intents import IntentPrototypes


@dataclass
class Encoding:
    r"""What a backbone makes of the graph.

    Args:
        nodes (Tensor): Final embeddings, users first, shape :math:`(N, d_{out})`.
        layers (tuple of Tensor): :math:`E^0, \ldots, E^L`, each of shape :math:`(N, d)`.
        views (tuple of tuple of Tensor, optional): Layers of further readings of the graph that
            the backbone's own losses compare, each of shape :math:`(N, d)`. (default: none)
        intents (IntentPrototypes, optional): The backbone's own prototypes, where it has some.
            (default: ``None``)
        interaction (tuple of Tensor, optional): Layers :math:`r^0, \ldots, r^{L-1}` of IRLLRec's
            interaction tower with these prototypes, where the backbone has them at hand.
            (default: none)
        losses (dict, optional): Weighted losses that arose on the way. (default: none)
    """

    nodes: Tensor
    layers: tuple[Tensor, ...]
    views: tuple[tuple[Tensor, ...], ...] = ()
    intents: IntentPrototypes | None = None
    interaction: tuple[Tensor, ...] = ()
    losses: dict[str, Tensor] = dataclass_field(default_factory=dict)


class Backbone(Configured, torch.nn.Module):
    r"""Base class of graph recommenders with one learnable embedding a node.

    A backbone implements :meth:`run`, and :meth:`build` where it has modules; it may add losses of
    its own in :meth:`losses`, views that these compare in :meth:`encode`, and replace the ranking
    loss.

    With ``init="text"`` the embeddings start from the items' texts: their principal components, as
    many as the embeddings are wide, and for a user the mean of their training items', each side
    scaled to the spread of Xavier's numbers. Where texts are narrower, these fill the rest.

    Args:
        data (HeteroData): Data set whose training interactions make the graph.
        config (Config or mapping, optional): Settings. (default: those of the class)
        **settings: Settings that take the place of these.

    Raises:
        ConfigError: If a setting is unknown or out of its bounds; it is named.
        MissingTextError: If ``init="text"`` and the items have no profile embeddings.
    """

    kind = "backbone"
    learns_embedding: ClassVar[bool] = True  #: If not, a backbone makes its own :meth:`inputs`.

    class Config(Configured.Config):
        embedding_size: int = field(
            32, ge=1, le=65536, help="width of the embeddings", search=(32, 256), log=True
        )
        init: Literal["xavier", "text"] = field(
            "xavier", help="whether embeddings start at random or as principal components of texts"
        )

    config: Config
    embedding: torch.nn.Parameter
    intents: IntentPrototypes | None
    embedding_size: int  #: Width :math:`d` of the embeddings and of every layer.

    def __init__(self, data: HeteroData, config: Settings = None, **settings: Any) -> None:
        super().__init__()
        self.config = self.Config.read(config, **settings)
        self.graph = InteractionGraph.from_data(data)
        self.intents = None
        embedding = None
        if self.learns_embedding:
            shape = self.graph.num_nodes, self.embedding_size
            embedding = torch.nn.Parameter(torch.empty(shape))
        self.register_parameter("embedding", embedding)
        self._texts = None
        if self.config.init == "text" and self.learns_embedding:
            text = text_features(data, "x", ["item"])
            item = principal_components(text, self.embedding_size).project(text)
            user = user_means(item, data[EDGE_TYPE].edge_index, self.graph.num_users)
            self._texts = torch.cat([user, item])
        self._draw_embedding()
        self.known = known_pairs(data)  # for recommending: what no list should hold
        self.user_ids: list[int | str] | None = data["user"].get("raw_id")
        self.item_ids: list[int | str] | None = data["item"].get("raw_id")
        self.build(data)

    def build(self, data: HeteroData) -> None:
        """Makes what the backbone has beside embeddings; is called once, when these are there."""

    @property
    def out_channels(self) -> int:
        """Width of the final embeddings."""
        return self.embedding_size

    def reset_parameters(self) -> None:
        """Draws new embeddings (and prototypes), Xavier-uniform, users and items apart; with
        ``init="text"`` those of the texts.
        """
        if self.intents is not None:
            self.intents.reset_parameters()
        self._draw_embedding()

    def _draw_embedding(self) -> None:
        if not self.learns_embedding:
            return
        with torch.no_grad():
            for part in self.embedding.split([self.graph.num_users, self.graph.num_items]):
                torch.nn.init.xavier_uniform_(part)
            if self._texts is None:
                return
            width = min(self._texts.size(1), self.embedding_size)
            sides = [self.graph.num_users, self.graph.num_items]
            texts = self._texts.to(self.embedding).split(sides)
            for part, text in zip(self.embedding.split(sides), texts, strict=True):
                length = part.std(correction=0) / text.std(correction=0).clamp(min=1e-8)
                part[:, :width] = text * length

    def inputs(self, graph: InteractionGraph) -> Tensor:
        r"""The input embeddings :math:`E^0` of the graph's nodes, shape :math:`(N, d)`."""
        return self.embedding if graph.n_id is None else self.embedding.index_select(0, graph.n_id)

    def forward(
        self, graph: InteractionGraph | None = None, x: Tensor | None = None, augment: bool = False
    ) -> Encoding:
        r"""Encodes the nodes of a graph.

        Args:
            graph (InteractionGraph, optional): The whole graph or a sampled part of it.
                (default: the whole training graph)
            x (Tensor, optional): Replaces :math:`E^0`, shape :math:`(N, d)`.
                (default: :meth:`inputs`)
            augment (bool, optional): Whether random augmentation is on. (default: ``False``)
        """
        graph = graph or self.graph
        return self.run(graph, self.inputs(graph) if x is None else x, augment)

    def run(self, graph: InteractionGraph, x: Tensor, augment: bool) -> Encoding:
        """Encodes the nodes of a graph; arguments as of :meth:`forward`, which calls it."""
        raise NotImplementedError

    @property
    def folds_in(self) -> bool:
        """Whether :meth:`fold_in` works."""
        return False

    def fold_in(self) -> FoldIn | None:
        """How users whom the graph does not hold get embeddings from their items; nothing where
        they cannot.
        """
        return None

    @property
    def text_width(self) -> int | None:
        """Width of the texts of items whose embeddings follow from their texts alone, or nothing;
        see :meth:`add_items`.
        """
        return None

    def add_items(self, ids: list[int | str], texts: Tensor) -> None:
        """Adds items without interactions to the graph, where there is a :attr:`text_width`.

        Args:
            ids (list): The ids of all items, those of the new ones last.
            texts (Tensor): The new ones' texts, shape :math:`(n, T)`.
        """
        raise NotImplementedError

    def encode(self, batch: Triplets, x: Tensor) -> Encoding:
        r"""The pass of a training step: :meth:`forward` and the views that the losses compare.

        Args:
            batch (Triplets): The triplets.
            x (Tensor): :math:`E^0` as the heads left it, shape :math:`(N, d)`.
        """
        encoding: Encoding = self(batch.graph, x, batch.augment)
        return encoding

    def begin_epoch(self) -> None:
        """Is called by the training loop when an epoch begins."""

    def ranking_loss(self, encoding: Encoding, batch: Triplets) -> Tensor:
        """The loss that ranks, BPR here; reported as ``bpr``."""
        # One gather: each would fill a matrix of all nodes in its backward pass.
        ids = torch.cat([batch.user, batch.pos_node, batch.neg_node.flatten()])
        rows = encoding.nodes.index_select(0, ids)
        user, pos, neg = rows.split([batch.size, batch.size, batch.neg_node.numel()])
        return bpr(user, pos, neg.view(*batch.neg_node.shape, rows.size(1)))

    def losses(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """Further weighted losses of the backbone itself, by name."""
        return encoding.losses

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.graph.num_users} users, "
            f"{self.graph.num_items} items, embedding_size={self.embedding_size})"
        )
