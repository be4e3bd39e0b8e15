"""IRLLRec's momentum matching."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ...config import field
from ...registry import Configured
from ..backbones import IntentPrototypes
from ..fields import loss_weight
from ..losses import distill
from ..mlp import TextMLP
from .following import FollowingLayer
from .teacher import Teacher


class Intents(NamedTuple):
    """Both intents of the same nodes, users first.

    Args:
        interaction (Tensor): :math:`r`, shape :math:`(M, d)`.
        text (Tensor): :math:`z`, shape :math:`(M, d)`.
    """

    interaction: Tensor
    text: Tensor


class MomentumMatching(Configured, torch.nn.Module):
    r"""Distils a momentum teacher of both towers into them, one part of
    :class:`~irllrec_pyg.nn.IntentAlignment`:

    .. math::
        \mathcal{L}_{m} = w \big[ (1 - \alpha) \mathcal{L}_{tr} + \alpha \, \mathcal{D} \big]

    :math:`\mathcal{L}_{tr}` is the weighted loss of translation (zero where that is left out).
    What :math:`\mathcal{D}` distils is ``target``:

    - ``"similarities"`` between both towers, as the paper's text and Figure 2 have it, for users
      and for items and in both directions, with :math:`S = \cos(r, z) / \tau`:

      .. math::
          \mathcal{D} = \tfrac{1}{2} \big(
          \mathrm{KL}(\mathrm{softmax} \, S^m \,\|\, \mathrm{softmax} \, S) +
          \mathrm{KL}(\mathrm{softmax} \, S^{m\top} \,\|\, \mathrm{softmax} \, S^{\top}) \big)

    - ``"predictions"`` of the text tower alone, as the released code of LightGCN does:

      .. math::
          \mathcal{D} = - \mathrm{mean}_n \sum_k
          \mathrm{softmax}(z^m_n)_k \log \mathrm{softmax}(z_n)_k

    Args:
        config (MomentumMatching.Config): ``weight``, ``momentum``, ``alpha`` and ``target``.
        mlp (TextMLP): The text tower; it stays its owner's.
        prototypes (IntentPrototypes): Those of the interaction tower; they stay their owner's.
        temperature (float): :math:`\tau`.
    """

    class Config(Configured.Config):
        weight: float = loss_weight(1e-4, 1e-7, 1e-1)
        momentum: float = field(
            0.999, ge=0, le=1, help="share of itself that the teacher keeps in a step"
        )
        alpha: float = field(0.6, ge=0, le=1, help="share of distillation in the loss")
        target: Literal["similarities", "predictions"] = field(
            "similarities",
            help="whether similarities of both towers or the text tower's outputs are distilled",
        )

    config: Config

    def __init__(
        self, config: Config, mlp: TextMLP, prototypes: IntentPrototypes, temperature: float
    ) -> None:
        super().__init__()
        self.config, self.temperature = config, temperature
        students: dict[str, torch.nn.Module] = {"mlp": mlp}
        if config.target == "similarities":
            students["prototypes"] = prototypes
        self.teacher = Teacher(config.momentum, **students)
        self.following = FollowingLayer(self.teacher)

    @torch.no_grad()
    def teacher_text(
        self, x: Tensor, features: Tensor | None = None, student_hidden: Sequence[Tensor] = ()
    ) -> Tensor:
        """The teacher's :math:`z^m` of some texts, shape :math:`(M, d)`.

        Args:
            x (Tensor): The texts, shape :math:`(M, T)`.
            features (Tensor, optional): What the texts come from, if they are the same rows of it
                at every step: then :class:`FollowingLayer` saves the product. (default: ``None``)
            student_hidden (sequence of Tensor, optional): As there. (default: none)
        """
        out: Tensor
        if features is None:
            out = self.teacher["mlp"](x)
        else:
            out = self.following(features, x, student_hidden)
        return out

    def forward(
        self,
        student: Intents,
        teacher_text: Tensor,
        teacher_interaction: Tensor | None,
        num_users: int,
        translation: Tensor | float,
    ) -> Tensor:
        """The weighted loss.

        Args:
            student (Intents): Of the nodes that are matched.
            teacher_text (Tensor): :math:`z^m` of the same nodes.
            teacher_interaction (Tensor or None): :math:`r^m` of them; similarities need it.
            num_users (int): How many of the nodes are users; they come first.
            translation (Tensor or float): The weighted loss of translation.
        """
        if teacher_interaction is None:
            target = teacher_text.softmax(1)
            gap = -(target * student.text.log_softmax(1)).sum(1).mean()
        else:
            gap = self._similarity_gap(
                student, Intents(teacher_interaction, teacher_text), num_users
            )
        alpha = self.config.alpha
        return self.config.weight * ((1 - alpha) * translation + alpha * gap)

    def _similarity_gap(self, student: Intents, teacher: Intents, num_users: int) -> Tensor:
        total = student.text.new_zeros(())
        for side in (slice(num_users), slice(num_users, None)):
            r, z, teacher_r, teacher_z = (part[side] for part in (*student, *teacher))
            total = total + 0.5 * (
                distill(r, z, teacher_r, teacher_z, self.temperature)
                + distill(z, r, teacher_z, teacher_r, self.temperature)
            )
        return total
