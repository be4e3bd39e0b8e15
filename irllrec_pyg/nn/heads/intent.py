"""IRLLRec: alignment of intents learnt from interactions with intents that an LLM wrote."""

from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ...config import field
from ...registry import register
from ..backbones import Backbone, Encoding, IntentPrototypes
from ..batch import Triplets
from ..fields import temperature_of
from ..mlp import TextMLP
from .base import TextHead, TextRows
from .matching import Intents, MomentumMatching
from .pairwise import PairwiseAlignment
from .tower import InteractionTower
from .translation import TranslationAlignment


@register("intent")
class IntentAlignment(TextHead):
    r"""Intent alignment of the `"Intent Representation Learning with Large Language Model for
    Recommendation" <https://arxiv.org/abs/2502.03307>`_ paper (IRLLRec).

    *Interaction tower*, with prototypes :math:`C` of users and of items and adaptive adjacency
    :math:`\tilde{A}` (:class:`~irllrec_pyg.nn.AdaptiveConv`):

    .. math::
        h^l = \mathrm{softmax}(E^l C) C^{\top}, \qquad r^l = \tilde{A}(h^l) E^l, \qquad
        r = \frac{1}{L} \sum_{l=0}^{L-1} r^l

    *Text tower*: :math:`z = \mathrm{MLP}(t)` of the intent texts. Three parts tie the towers, each
    the loss of its name: ``intent`` (:class:`PairwiseAlignment`), ``translation``
    (:class:`TranslationAlignment`) and ``matching`` (:class:`MomentumMatching`). A part that is
    ``None`` or has a weight of zero is left out.

    The defaults follow the paper's text and Figure 2. Where the final embeddings are wider than
    :math:`z` (GCCF), translation takes the mean of the layers.

    Args:
        data (HeteroData): Data set with intent embeddings ``intent`` of users and items, or of
            items.
        backbone (Backbone): Yields layers :math:`E^l` and final embeddings :math:`e`.
        config, **settings: As of every :class:`Head`.

    Raises:
        MissingTextError: If the data set has no intent embeddings.
    """

    text_field = "intent"

    class Config(TextHead.Config):
        num_intents: int = field(
            128,
            ge=1,
            le=65536,
            help="prototypes on each side, where they are the head's",
            search=(16, 256),
        )
        prototypes: Literal["backbone", "own"] = field(
            "backbone", help="whether the backbone's prototypes are used where it has some"
        )
        temperature: float = temperature_of(
            "pairwise alignment and of matched similarities", 0.2, 0.05, 1.0, log=True
        )
        view: int | None = field(
            None, ge=0, help="which of the backbone's views the tower reads; none is its layers"
        )
        shift: int = field(
            0, ge=0, le=1, help="how many layers on from the one of h^l the averaged E^l lies"
        )
        pairwise: PairwiseAlignment.Config = field(
            PairwiseAlignment.Config(), help="pairwise alignment"
        )
        translation: TranslationAlignment.Config | None = field(
            TranslationAlignment.Config(), help="translation alignment"
        )
        matching: MomentumMatching.Config | None = field(
            MomentumMatching.Config(), help="momentum matching"
        )

    config: Config

    def build(self, data: HeteroData, backbone: Backbone) -> None:
        """Makes the towers and the parts."""
        super().build(data, backbone)
        config, size = self.config, backbone.embedding_size
        self.mlp = TextMLP(self.features.size(1), size)
        # In a tuple, or the backbone's prototypes would be stored twice.
        self._borrowed: tuple[IntentPrototypes, ...] = ()
        if config.prototypes == "backbone" and backbone.intents is not None:
            self._borrowed = (backbone.intents,)
        own = None if self._borrowed else IntentPrototypes(size, config.num_intents)
        self.intents: IntentPrototypes | None = own
        self.tower = InteractionTower(config.shift)
        self.parts = torch.nn.ModuleDict()
        if config.pairwise.weight > 0:
            self.parts["pairwise"] = PairwiseAlignment(config.pairwise, config.temperature)
        if config.translation is not None and config.translation.weight > 0:
            self.parts["translation"] = TranslationAlignment(config.translation)
        if config.matching is not None and config.matching.weight > 0:
            self.parts["matching"] = MomentumMatching(
                config.matching, self.mlp, self.student_intents, config.temperature
            )

    @property
    def student_intents(self) -> IntentPrototypes:
        """The tower's prototypes: the head's, or the backbone's."""
        return self.intents or self._borrowed[0]

    @property
    def matching(self) -> MomentumMatching | None:
        """The part, unless it is left out."""
        part: MomentumMatching | None = getattr(self.parts, "matching", None)
        return part

    def begin_epoch(self) -> None:
        """Has the teacher's hidden layer computed anew: an epoch that is resumed has no older
        one.
        """
        if self.matching is not None:
            self.matching.following.forget()

    def begin_step(self) -> None:
        """Moves the teacher, once an optimiser step."""
        if self.matching is not None:
            self.matching.teacher.step()

    def reset_teacher(self) -> None:
        """Makes the teacher, if there is one, a copy of its student again."""
        if self.matching is not None:
            self.matching.teacher.reset()

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        if self.matching is not None:
            self.matching.following.forget()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The losses ``intent``, ``translation`` and ``matching``."""
        interaction = self._interaction(encoding, batch)
        part = self.config.translation
        further = "translation" in self.parts or "matching" in self.parts
        if further and part is not None and part.nodes == "all":
            texts = self._texts_of_all(batch)
        else:
            texts = self._texts_of_batch(batch, further)
        losses: dict[str, Tensor] = {}
        if "pairwise" in self.parts:
            losses["intent"] = self.parts["pairwise"](interaction, texts.rows, batch)
        if "translation" in self.parts:
            final = _rows(self._final(encoding), texts.nodes)
            losses["translation"] = self.parts["translation"](texts.student, final, batch.augment)
        if self.matching is not None and texts.teacher is not None:
            losses["matching"] = self.matching(
                Intents(_rows(interaction, texts.nodes), texts.student),
                texts.teacher,
                self._teacher_interaction(encoding, batch, texts.nodes),
                texts.num_users,
                losses.get("translation", 0.0),
            )
        return losses

    def _interaction(self, encoding: Encoding, batch: Triplets) -> Tensor:
        """:math:`r` of all nodes, shape :math:`(N, d)`."""
        if self._borrowed and encoding.intents is not self._borrowed[0]:
            raise ValueError(
                "This head was built for a backbone that has prototypes of its own; "
                "build another one for this backbone."
            )
        if self._borrowed and encoding.interaction:
            return torch.stack(encoding.interaction).mean(0)
        out: Tensor = self.tower(self._layers(encoding), self.student_intents, batch.graph)
        return out

    @torch.no_grad()
    def _teacher_interaction(
        self, encoding: Encoding, batch: Triplets, nodes: Tensor | None
    ) -> Tensor | None:
        """The teacher's :math:`r` of some nodes; ``None`` where texts alone are matched."""
        if self.matching is None or self.matching.config.target == "predictions":
            return None
        prototypes = self.matching.teacher["prototypes"]
        return _rows(self.tower(self._layers(encoding), prototypes, batch.graph), nodes)

    def _layers(self, encoding: Encoding) -> tuple[Tensor, ...]:
        view = self.config.view
        if view is not None and view >= len(encoding.views):
            raise ValueError(
                f"'view' must be less than the backbone's {len(encoding.views)} views, got {view}."
            )
        return encoding.layers if view is None else encoding.views[view]

    def _final(self, encoding: Encoding) -> Tensor:
        """:math:`e` of all nodes, or as wide as :math:`z`, shape :math:`(N, d)`."""
        if encoding.nodes.size(1) == encoding.layers[0].size(1):
            return encoding.nodes
        return torch.stack(encoding.layers).mean(0)

    def _texts_of_all(self, batch: Triplets) -> "_Texts":
        x, num_users = self.text_of(batch, slice(None)), batch.graph.num_users
        hidden = self.mlp.hidden(x)
        teacher = None
        if self.matching is not None:
            # The teacher comes first: the student overwrites the layer with its activation.
            whole = self.features if batch.graph.n_id is None else None
            teacher = self.matching.teacher_text(x, whole, hidden)
        z = self.mlp.output(hidden)
        items = torch.arange(num_users, len(z), device=z.device)
        return _Texts(TextRows(z[:num_users], z[num_users:], items), None, num_users, z, teacher)

    def _texts_of_batch(self, batch: Triplets, further: bool) -> "_Texts":
        rows = self.encode(self.mlp, batch, further or self.config.pairwise.negatives)
        if not further:
            return _Texts(rows, rows.item_node, 0, rows.item)
        nodes = torch.cat([batch.users.index, batch.items.index])
        z = torch.cat([batch.users.of(rows.user), rows.item])
        teacher = None
        if self.matching is not None:
            teacher = self.matching.teacher_text(self.text_of(batch, nodes))
        return _Texts(rows, nodes, batch.users.index.numel(), z, teacher)


class _Texts(NamedTuple):
    """Mapped texts: those that pairwise alignment compares, and those of the nodes that translation
    and matching run over (all if ``nodes`` is ``None``), of which ``num_users`` users come first.
    """

    rows: TextRows
    nodes: Tensor | None
    num_users: int
    student: Tensor
    teacher: Tensor | None = None


def _rows(x: Tensor, nodes: Tensor | None) -> Tensor:
    return x if nodes is None else x.index_select(0, nodes)
