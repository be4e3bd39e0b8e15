"""A model is the sum of a backbone and heads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch.nn import ModuleDict
from torch_geometric.data import HeteroData

from ..config import ConfigError
from ..edges import EDGE_TYPE
from ..ranking.fold_in import FoldIn
from ..registry import lookup
from .backbones import Backbone, IntentPrototypes
from .batch import Triplets
from .features import narrow_texts
from .heads import Head, IntentAlignment
from .losses import normalize
from .model_config import ModelConfig, Part, Similarity, label_all
from .named_intents import IntentRanker, name_intents, narrow
from .ranking_loss import RankingLoss
from .subgraph import Subgraph


class Recommender(IntentRanker):
    r"""A graph recommender with any number of alignment heads.

    Args:
        backbone (Backbone): Turns the graph into node embeddings.
        heads (sequence or mapping of Head, optional): Add losses in training; inference does not
            use them. Keys label what a head reports; in a sequence the label is the head's name,
            with ``-2``, ``-3``, ... where a name repeats. (default: none)
        reg_weight (float, optional): Weight of :math:`\sum \|\theta\|^2` over all trainable
            parameters. (default: ``0.0``)
        ranking_loss (RankingLoss, optional): Takes the place of the backbone's own ranking
            loss. (default: ``None``)
        similarity (str, optional): Whether ``"dot"`` products or ``"cosine"`` s of the final
            embeddings rank; with ``"validation"``, dot products do until
            :func:`irllrec_pyg.training.fit` chooses. (default: ``"dot"``)
        text_rank (int, optional): To how many principal components the texts of the parts were
            reduced, where :meth:`from_config` did that; a part of the description.
            (default: ``None``)

    Example:
        >>> data = IRLLRecDataset(root, name="sample")[0]
        >>> backbone = LightGCN(data, embedding_size=32, num_layers=3)
        >>> model = Recommender(backbone, [ProfileAlignment(data, backbone)])
        >>> [tuple(part.shape) for part in model.embed()]
        [(600, 32), (360, 32)]
    """

    cosine: Tensor  #: With ``similarity="validation"``: whether cosines were chosen.

    def __init__(
        self,
        backbone: Backbone,
        heads: Iterable[Head] | Mapping[str, Head] = (),
        reg_weight: float = 0.0,
        ranking_loss: RankingLoss | None = None,
        similarity: Similarity = "dot",
        text_rank: int | None = None,
    ) -> None:
        graph = backbone.graph
        owned = backbone.user_ids, backbone.item_ids, backbone.known
        super().__init__(graph.interactions, graph.num_users, graph.num_items, *owned)
        own = ModelConfig(reg_weight=reg_weight, similarity=similarity, text_rank=text_rank)
        self.reg_weight, self.similarity = own.reg_weight, own.similarity
        self.text_rank = own.text_rank
        if similarity == "validation":  # what was chosen is a part of the weights
            self.register_buffer("cosine", torch.tensor(False))
        self.backbone = backbone
        self.heads = ModuleDict(heads if isinstance(heads, Mapping) else _labelled(heads))
        self.ranking_loss = ranking_loss

    @classmethod
    def from_config(cls, config: ModelConfig | Mapping[str, Any], data: HeteroData) -> Self:
        """Builds the model that a configuration describes.

        Args:
            config (ModelConfig or mapping): The description, as :attr:`config` gives it.
            data (HeteroData): Data set; heads need its texts.

        Raises:
            ConfigError: If a name or a setting is unknown or out of bounds; it is named.
            MissingTextError: If a head needs texts that the data set lacks.
        """
        config = ModelConfig.read(config)
        if config.text_rank is not None:
            data = narrow_texts(data, config.text_rank)
        backbone = _build("backbone", config.backbone, data)
        heads = {
            label: _build("head", part, data, backbone) for label, part in config.heads.items()
        }
        loss = config.ranking_loss
        return cls(
            backbone,
            heads,
            config.reg_weight,
            None if loss is None else _build("ranking-loss", loss),
            config.similarity,
            config.text_rank,
        )

    @property
    def description(self) -> dict[str, Any]:
        """What the model is, as plain values: every part by name, with all settings."""
        return {
            "backbone": self.backbone.description,
            "heads": {label: head.description for label, head in self.named_heads()},
            "ranking_loss": None if self.ranking_loss is None else self.ranking_loss.description,
            "reg_weight": self.reg_weight,
            "similarity": self.similarity,
            "text_rank": self.text_rank,
        }

    @property
    def config(self) -> ModelConfig:
        """The description, checked, from which :meth:`from_config` builds such a model again.

        Raises:
            ConfigError: If a part is not registered, so that nothing could build it by name.
        """
        return ModelConfig.read(self.description)

    @property
    def ranks_by(self) -> Literal["dot", "cosine"]:
        """What ranks, where ``similarity`` leaves it to the validation items what was chosen."""
        if self.similarity == "validation":
            return "cosine" if self.cosine else "dot"
        return self.similarity

    def named_heads(self) -> list[tuple[str, Head]]:
        """The heads with their labels."""
        return list(self.heads.items())  # type: ignore[arg-type]

    def begin_epoch(self) -> None:
        """Tells the backbone and the heads that an epoch begins."""
        self.backbone.begin_epoch()
        for _, head in self.named_heads():
            head.begin_epoch()

    def begin_step(self) -> None:
        """Tells the heads that an optimiser step begins: momentum teachers move here.

        A teacher whose student has not changed since stays where it is, so a second call before
        the next optimiser step changes nothing.
        """
        for _, head in self.named_heads():
            head.begin_step()

    def losses(
        self,
        user: Tensor,
        pos: Tensor,
        neg: Tensor,
        augment: bool = True,
        masked_nodes: Tensor | None = None,
    ) -> dict[str, Tensor]:
        r"""Losses of a batch of triplets over the whole graph.

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
            :class:`InBatchSoftmax`), ``reg`` and what the backbone and the heads add; losses of a
            head whose label is not its name carry the label, such as ``profile-2.profile``.
        """
        return self._losses(Triplets(user, pos, neg, self.backbone.graph, augment, masked_nodes))

    def losses_from_batch(self, batch: HeteroData, augment: bool = True) -> dict[str, Tensor]:
        """Losses of a batch of :func:`irllrec_pyg.loader.triplet_loader`.

        A batch of triplets propagates over the whole graph, a batch with sampled neighbourhoods
        over its own; there, contrastive sums over "all users" or "all nodes" run over those of
        the neighbourhood.
        """
        graph = self.backbone.graph
        if "edge_weight" in batch[EDGE_TYPE]:
            graph = Subgraph.from_batch(batch, self.num_users)
        return self._losses(Triplets.from_batch(batch, graph, augment))

    def _losses(self, batch: Triplets) -> dict[str, Tensor]:
        x = self.backbone.inputs(batch.graph)
        for _, head in self.named_heads():
            if self.training:  # also where a loop of one's own does not say that a step begins
                head.begin_step()
            x = head.corrupt(x, batch)
        encoding, loss = self.backbone.encode(batch, x), self.ranking_loss
        if loss is None:
            ranked = {"bpr": self.backbone.ranking_loss(encoding, batch)}
        else:
            ranked = {loss.registered_name: loss(encoding, batch, self)}
        weights = [p.flatten() for p in self.parameters() if p.requires_grad]
        norms = [weight.dot(weight) for weight in weights]
        losses = {
            **ranked,
            "reg": self.reg_weight * torch.stack(norms).sum(),
            **self.backbone.losses(encoding, batch),
        }
        for label, head in self.named_heads():
            for name, value in head(encoding, batch).items():
                name = name if label == _name(head) else f"{label}.{name}"
                if name in losses or name == "total":
                    raise ValueError(f"Two losses are called {name!r}; give a head another label.")
                losses[name] = value
        return {**losses, "total": torch.stack(list(losses.values())).sum()}

    def embed(self) -> tuple[Tensor, Tensor]:
        r"""Final embeddings of users :math:`(U, d)` and items :math:`(I, d)`, of unit length
        where cosines rank.
        """
        nodes = self.backbone().nodes
        nodes = normalize(nodes) if self.ranks_by == "cosine" else nodes
        return nodes[: self.num_users], nodes[self.num_users :]

    def fold_in(self) -> FoldIn | None:
        """That of the backbone."""
        fold = self.backbone.fold_in()
        if fold is not None:
            fold.cosine = self.ranks_by == "cosine"
        return fold

    def name_intents(self, texts: Mapping[str, Any]) -> None:
        """Gives intents names, by which :meth:`explain` tells what a user and an item have in
        common; they are saved with the model, and are those of the weights that it has now.

        Args:
            texts (mapping): The vector of a text by the intent's name, of the encoder that made the
                data set's ``intent``.

        Raises:
            ValueError: If the model has no head with intents, or a vector has another width.
        """
        head = self._intent_head()
        if head is None:
            raise ValueError("The model has no 'intent' head, whose map turns texts into intents.")
        if not texts:
            raise ValueError("'texts' must hold a vector for each intent, got none.")
        with self.ranking():
            self.named_intents = name_intents(head.features, self.embed(), texts)

    def _intent_head(self) -> IntentAlignment | None:
        heads = [head for _, head in self.named_heads() if isinstance(head, IntentAlignment)]
        return heads[0] if heads else None

    def intent_vectors(self) -> tuple[list[str], Tensor, Tensor] | None:
        """Names and vectors of intents, shape :math:`(n, d)`, and the items' embeddings beside
        them, shape :math:`(I, d)`; ``None`` where there are no intents.
        """
        items, prototypes = self.embed()[1], self.prototypes()
        if self.named_intents is not None:
            names, vectors = self.named_intents.names, self.named_intents.item
        elif prototypes is not None:
            vectors = prototypes.item.t()
            names = [f"intent {at}" for at in range(len(vectors))]
        else:
            return None
        return names, vectors, narrow(items, vectors.size(1))

    def prototypes(self) -> IntentPrototypes | None:
        """Those of the intent head, else of the backbone."""
        head = self._intent_head()
        return self.backbone.intents if head is None else head.student_intents

    def user_length(self, user: int) -> float:
        """Length of a user's embedding as the backbone gives it."""
        return float(self.backbone().nodes[user].norm())

    @property
    def takes_history(self) -> bool:
        """Whether the backbone can fold new users in."""
        return self.backbone.folds_in

    def why_no_history(self) -> str:
        """Names the backbone."""
        return (
            super()
            .why_no_history()
            .replace(type(self).__name__, f"A model on {type(self.backbone).__name__}")
        )

    @property
    def text_width(self) -> int | None:
        """That of the backbone."""
        return self.backbone.text_width

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds items to the backbone's graph; see :meth:`Ranker.add_items`. The heads, which
        inference does not use, do not know them: train before, not after.
        """
        assert texts is not None
        self.backbone.add_items([*self.ids("item"), *ids], texts)
        super().grow(ids, texts)


def _name(head: Head) -> str:
    return head.registered_name or type(head).__name__


def _labelled(heads: Iterable[Head]) -> dict[str, Head]:
    heads = list(heads)
    labels = [label for label, _ in label_all(map(_name, heads))]
    return dict(zip(labels, heads, strict=True))


def _build(kind: str, part: Part, *parts: Any) -> Any:
    settings = {name: value for name, value in part.items() if name != "name"}
    try:
        return lookup(kind, part["name"])(*parts, settings)  # type: ignore[call-arg]
    except ConfigError as error:
        raise ConfigError(f"{kind} {part['name']!r}: {error}") from None
