"""IRLLRec: alignment of intents learnt from interactions with intents that an LLM wrote."""

import copy
from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..backbones import Encoding, IntentPrototypes
from ..batch import Triplets
from ..conv import AdaptiveConv
from ..features import text_features
from ..graph import InteractionGraph
from ..losses import distill, ssl_loss
from ..mlp import TextMLP
from .base import TextHead, TextRows, align
from .teacher import FollowingTeacher

Mode = Literal["as_published", "as_in_paper"]


class IntentAlignment(TextHead):
    r"""Intent alignment of the `"Intent Representation Learning with Large Language Model for
    Recommendation" <https://arxiv.org/abs/2502.03307>`_ paper (IRLLRec).

    *Interaction tower*, with prototypes :math:`C` of users and of items and adaptive adjacency
    :math:`\tilde{A}` (:class:`~irllrec_pyg.nn.AdaptiveConv`):

    .. math::
        h^l = \mathrm{softmax}(E^l C) C^{\top}, \qquad r^l = \tilde{A}(h^l) E^l, \qquad
        r = \frac{1}{L} \sum_{l=0}^{L-1} r^l

    *Text tower*: :math:`z = \mathrm{MLP}(t)` of the intent texts. Three losses tie them:

    - ``intent``, pairwise alignment of :math:`r` and :math:`z`, weight ``weight``;
    - ``translation``, of noisy :math:`z` and noisy final embeddings :math:`e`;
    - ``matching``, which distils a momentum teacher (a moving average of the student that starts
      as its copy, takes no gradient and is in the state dict) into the student.

    ``mode="as_published"`` computes what the released code of LightGCN computes:

    .. math::
        \mathcal{L}_{tr} = w_2 \, \mathrm{ssl}(z \odot (1 + \epsilon_1), e \odot (1 + \epsilon_2),
        1) \quad \text{over all nodes}

        \mathcal{L}_{m} = w_3 \big[ 0.4 \, \mathcal{L}_{tr} - 0.6 \, \mathrm{mean}_n \sum_k
        \mathrm{softmax}(z^m_n)_k \log \mathrm{softmax}(z_n)_k \big]

    ``mode="as_in_paper"`` follows the paper's text and Figure 2; what these leave open is our
    definition: the noise of translation is additive, :math:`x + \sigma \, \mathrm{std}(x)
    \, \mathcal{N}(0, 1)`, over the batch's distinct users and items; matching distils
    similarities between both towers, for users and for items and in both directions, with
    :math:`S = \cos(r, z) / \tau`:

    .. math::
        \mathcal{L}_{m} = w_3 \big[ (1 - \alpha) \mathcal{L}_{tr} + \tfrac{\alpha}{2} \big(
        \mathrm{KL}(\mathrm{softmax} \, S^m \,\|\, \mathrm{softmax} \, S) +
        \mathrm{KL}(\mathrm{softmax} \, S^{m\top} \,\|\, \mathrm{softmax} \, S^{\top}) \big) \big]

    Where :math:`e` is wider than :math:`z` (GCCF), translation takes the mean of the layers.

    The published variants of other backbones have neither translation nor matching, and change
    the pairwise part: SimGCL's leaves out negative items, SGL's tower reads the layers of its
    second view, BIGCF's averages :math:`E^{l+1}` rather than :math:`E^l`, and those of DCCF and
    BIGCF take the prototypes that the backbone has anyway.

    Args:
        data (HeteroData): Data set with intent embeddings ``intent`` of users and items.
        embedding_size (int): Width :math:`d` of the backbone's layers.
        num_intents (int, optional): Prototypes on each side. (default: ``128``)
        weight (float, optional): Of pairwise alignment. (default: ``0.02``)
        temperature (float, optional): :math:`\tau` of pairwise alignment and of matching.
            (default: ``0.2``)
        translation_weight (float, optional): :math:`w_2`; zero leaves the part out.
            (default: ``5e-4``)
        matching_weight (float, optional): :math:`w_3`; zero leaves the part out.
            (default: ``1e-4``)
        momentum (float, optional): Of the teacher. (default: ``0.999``)
        alpha (float, optional): Share of distillation in matching. (default: ``0.6``)
        noise (float, optional): :math:`\sigma`, ``as_in_paper`` only. (default: ``0.1``)
        all_nodes (bool, optional): Whether translation runs over all nodes rather than the
            batch's. (default: ``True`` as published, ``False`` as in the paper)
        negatives (bool, optional): Whether pairwise alignment takes negative items.
            (default: ``True``)
        mode (str, optional): ``"as_published"`` or ``"as_in_paper"``.
            (default: ``"as_published"``)
        prototypes (IntentPrototypes, optional): The backbone's own, to be used in the place of
            new ones; they stay the backbone's. (default: ``None``)
        view (int, optional): Which of the backbone's views the tower reads.
            (default: ``None``, its plain layers)
        shift (int, optional): The tower averages :math:`\tilde{A}(h^l) E^{l + \mathrm{shift}}`;
            ``0`` or ``1``. (default: ``0``)

    Raises:
        MissingTextError: If the data set has no intent embeddings.
    """

    def __init__(
        self,
        data: HeteroData,
        embedding_size: int,
        num_intents: int = 128,
        weight: float = 0.02,
        temperature: float = 0.2,
        translation_weight: float = 5e-4,
        matching_weight: float = 1e-4,
        momentum: float = 0.999,
        alpha: float = 0.6,
        noise: float = 0.1,
        all_nodes: bool | None = None,
        negatives: bool = True,
        mode: Mode = "as_published",
        prototypes: IntentPrototypes | None = None,
        view: int | None = None,
        shift: int = 0,
    ) -> None:
        super().__init__(text_features(data, "intent"))
        if mode not in ("as_published", "as_in_paper"):
            raise ValueError(f"'mode' must be 'as_published' or 'as_in_paper', got {mode!r}.")
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"'momentum' must lie in [0, 1], got {momentum}.")
        self.mode = mode
        self.weight, self.temperature = weight, temperature
        self.translation_weight, self.matching_weight = translation_weight, matching_weight
        self.momentum, self.alpha, self.noise = momentum, alpha, noise
        self.all_nodes = mode == "as_published" if all_nodes is None else all_nodes
        self.negatives = negatives
        self.view, self.shift = view, shift
        self.mlp = TextMLP(self.features.size(1), embedding_size)
        student = prototypes or IntentPrototypes(embedding_size, num_intents)
        self.prototypes = student if prototypes is None else None
        self.tower = InteractionTower(shift)
        self.teacher = torch.nn.ModuleDict()
        if matching_weight > 0:
            self.teacher["mlp"] = copy.deepcopy(self.mlp)
            if mode == "as_in_paper":
                self.teacher["prototypes"] = copy.deepcopy(student)
            self.teacher.requires_grad_(False)
        self._following = FollowingTeacher()

    def begin_epoch(self) -> None:
        """Computes the teacher's hidden layer anew: an epoch that is resumed has no older one."""
        self._following.forget()

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self._following.forget()
        return super()._apply(fn, recurse)

    def reset_teacher(self, prototypes: IntentPrototypes | None = None) -> None:
        """Makes the teacher a copy of its student again.

        Args:
            prototypes (IntentPrototypes, optional): The backbone's, where the head has none of its
                own. (default: ``None``)
        """
        self._move_teacher(1.0, self.prototypes or prototypes)

    def _move_teacher(self, step: float, prototypes: IntentPrototypes | None) -> None:
        students = {"mlp": self.mlp, "prototypes": prototypes}
        with torch.no_grad():
            for name, teacher in self.teacher.items():
                student = students[name]
                if student is None:
                    raise ValueError("This head uses the backbone's prototypes; pass them.")
                for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                    slow.lerp_(fast, step)

    def forward(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The losses ``intent``, ``translation`` and ``matching``; moves the teacher."""
        prototypes = self.prototypes or encoding.intents
        if prototypes is None:
            raise ValueError(
                "This head was built for a backbone that has prototypes of its own; "
                "this one's encodings carry none."
            )
        known = self.matching_weight > 0 and self._following.knows(
            self.teacher["mlp"], self.features
        )
        if self.training:
            self._move_teacher(1 - self.momentum, prototypes)
        layers = encoding.layers if self.view is None else encoding.views[self.view]
        if self.prototypes is None and encoding.interaction:
            interaction = torch.stack(encoding.interaction).mean(0)
        else:
            interaction = self.tower(layers, prototypes, batch.graph)
        translates = self.translation_weight > 0 or self.matching_weight > 0
        if translates and self.all_nodes:
            x = self.text_of(batch, slice(None))
            hidden = self.mlp.hidden(x)
            if self.matching_weight > 0:
                teacher_z = self._teach(batch, x, hidden, known)
            z = self.mlp.output(hidden)
            users, nodes = batch.graph.num_users, torch.arange(len(z), device=z.device)
            text = TextRows(z[:users], z[users:], nodes[users:])
        else:
            text = self.encode(self.mlp, batch, self.negatives or translates)
            nodes = torch.cat([batch.users.index, batch.items.index])
            z = torch.cat([batch.users.of(text.user), text.item]) if translates else text.user
            if self.matching_weight > 0:
                with torch.no_grad():
                    teacher_z = self.teacher["mlp"](self.text_of(batch, nodes))
        losses = {
            "intent": self.weight
            * align(interaction, text, batch, self.temperature, self.negatives)
        }
        if translates:
            translation = self._translation(z, encoding, nodes, batch.augment)
            losses["translation"] = self.translation_weight * translation
        if self.matching_weight > 0:
            matching = (
                self._prediction_matching(z, teacher_z)
                if self.mode == "as_published"
                else self._similarity_matching(z, teacher_z, interaction, layers, nodes, batch)
            )
            losses["matching"] = self.matching_weight * (
                (1 - self.alpha) * losses["translation"] + self.alpha * matching
            )
        return losses

    def _translation(self, z: Tensor, encoding: Encoding, nodes: Tensor, augment: bool) -> Tensor:
        e = encoding.nodes
        if e.size(1) != z.size(1):
            e = torch.stack(encoding.layers).mean(0)
        e = e.index_select(0, nodes)
        if augment:
            z, e = self._disturb(z), self._disturb(e)
        return ssl_loss(z, e, 1.0)

    def _disturb(self, x: Tensor) -> Tensor:
        if self.mode == "as_published":
            return x * (1 + torch.randn_like(x))
        return x + self.noise * x.detach().std() * torch.randn_like(x)

    def _teach(self, batch: Triplets, x: Tensor, hidden: Sequence[Tensor], known: bool) -> Tensor:
        teacher: TextMLP = self.teacher["mlp"]  # type: ignore[assignment]
        if batch.graph.n_id is not None:  # other rows at every step
            with torch.no_grad():
                out: Tensor = teacher(x)
            return out
        step = 1 - self.momentum if known and self.training else None
        if not known:
            self._following.forget()
        return self._following(teacher, self.features, x, hidden, step)

    def _prediction_matching(self, z: Tensor, teacher_z: Tensor) -> Tensor:
        return -(teacher_z.softmax(1) * z.log_softmax(1)).sum(1).mean()

    def _similarity_matching(
        self,
        z: Tensor,
        teacher_z: Tensor,
        interaction: Tensor,
        layers: Sequence[Tensor],
        nodes: Tensor,
        batch: Triplets,
    ) -> Tensor:
        with torch.no_grad():
            teacher_r = self.tower(layers, self.teacher["prototypes"], batch.graph)[nodes]
        r = interaction[nodes]
        users = nodes < batch.graph.num_users
        total = z.new_zeros(())
        for side in (users, ~users):
            parts = r[side], z[side], teacher_r[side], teacher_z[side]
            x, y, x_m, y_m = parts
            total = total + 0.5 * (
                distill(x, y, x_m, y_m, self.temperature)
                + distill(y, x, y_m, x_m, self.temperature)
            )
        return total


class InteractionTower(torch.nn.Module):
    r"""Intents learnt from interactions, :math:`r` of :class:`IntentAlignment`.

    Args:
        shift (int, optional): As there. (default: ``0``)
    """

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        if shift not in (0, 1):
            raise ValueError(f"'shift' must be 0 or 1, got {shift}.")
        self.conv = AdaptiveConv()
        self.shift = shift

    def forward(
        self, layers: Sequence[Tensor], prototypes: torch.nn.Module, graph: InteractionGraph
    ) -> Tensor:
        r"""Averages the intent-weighted neighbours over the layers, shape :math:`(N, d)`."""
        last = len(layers) - 1
        pairs = zip(layers[:last], layers[self.shift : last + self.shift], strict=True)
        out = [self.conv(x, prototypes(layer, graph.num_users), graph) for layer, x in pairs]
        return torch.stack(out).mean(0)
