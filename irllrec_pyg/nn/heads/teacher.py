"""A momentum teacher over inputs that never change."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..features import stamp
from ..mlp import TextMLP

MOVED = 256  # rows that move at once on a CPU, so that they are read from memory once


class FollowingTeacher:
    r"""Outputs of a momentum teacher of a :class:`~irllrec_pyg.nn.mlp.TextMLP` for fixed rows.

    The hidden layer before its activation is linear in the weights, so for the same rows it moves
    as they do,

    .. math::
        \mathbf{W}^m \leftarrow m \mathbf{W}^m + (1 - m) \mathbf{W} \quad \Rightarrow \quad
        \mathbf{X} \mathbf{W}^{m\top} \leftarrow m \, \mathbf{X} \mathbf{W}^{m\top}
        + (1 - m) \, \mathbf{X} \mathbf{W}^{\top},

    and the student has :math:`\mathbf{X} \mathbf{W}^{\top}` at hand: the teacher needs no product
    with wide texts, and keeps :math:`M \cdot h` numbers in float32 or wider instead. Rounding
    errors fade as the momentum forgets them. The layer is computed anew whenever the teacher's
    weights or the rows were changed by others (but not through ``.data``, which nobody can see).
    """

    def __init__(self) -> None:
        self.hidden: list[Tensor] | None = None
        self.stamps: list[tuple[Any, ...]] = []

    def forget(self) -> None:
        """Has the hidden layer computed anew."""
        self.hidden = None

    def knows(self, teacher: torch.nn.Module, rows: Tensor) -> bool:
        """Whether the hidden layer is that of the teacher's present weights for these rows."""
        return self.hidden is not None and self.stamps == _stamps(teacher, rows)

    def __call__(
        self,
        teacher: TextMLP,
        rows: Tensor,
        x: Tensor,
        student_hidden: Sequence[Tensor],
        step: float | None,
    ) -> Tensor:
        r"""The teacher's outputs, shape :math:`(M, d)`.

        Args:
            teacher (TextMLP): The teacher.
            rows (Tensor): Memory that the rows come from, by which they are recognised.
            x (Tensor): The rows, shape :math:`(M, T)`.
            student_hidden (sequence of Tensor): The student's hidden layer before its activation,
                in the blocks of :meth:`TextMLP.hidden`.
            step (float, optional): :math:`1 - m`, if the teacher's weights have made this step
                towards the student's since :meth:`knows` said so. (default: ``None``)
        """
        with torch.no_grad():
            if self.hidden is None or (step is None and not self.knows(teacher, rows)):
                step = None
                # Steps of a thousandth would be lost in bfloat16.
                self.hidden = [
                    hidden.to(torch.promote_types(hidden.dtype, torch.float32))
                    for hidden in teacher.hidden(x)
                ]
            layer, self.hidden = self.hidden, None  # known again when every row has moved
            out = [
                teacher.output([_move(slow, fast, step)])
                for slow, fast in zip(layer, student_hidden, strict=True)
            ]
            if not layer[0].is_inference():  # such a layer could not move in training
                self.hidden, self.stamps = layer, _stamps(teacher, rows)
            return torch.cat(out)


def _move(slow: Tensor, fast: Tensor, step: float | None) -> Tensor:
    """A copy, in the student's dtype, of rows that went a step towards the student's."""
    out = torch.empty_like(fast)
    rows = MOVED if slow.device.type == "cpu" else slow.size(0)
    for row in range(0, slow.size(0), rows):
        block = slice(row, row + rows)
        if step is not None:
            slow[block].lerp_(fast[block].to(slow.dtype), step)
        out[block] = slow[block]
    return out


def _stamps(teacher: torch.nn.Module, rows: Tensor) -> list[tuple[Any, ...]]:
    return [stamp(tensor) for tensor in (rows, *teacher.parameters())]
