"""A teacher's hidden layer, kept up to date without a product."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..mlp import TextMLP
from ..snapshot import Snapshot
from .teacher import Teacher

MOVED = 256  # rows that move at once on a CPU, so that they are read from memory once


class FollowingLayer:
    r"""The hidden layer of a teacher's :class:`~irllrec_pyg.nn.mlp.TextMLP` for fixed rows.

    Before its activation the layer is linear in the weights, so for the same rows it moves as
    they do,

    .. math::
        \mathbf{W}^m \leftarrow m \mathbf{W}^m + (1 - m) \mathbf{W} \quad \Rightarrow \quad
        \mathbf{X} \mathbf{W}^{m\top} \leftarrow m \, \mathbf{X} \mathbf{W}^{m\top}
        + (1 - m) \, \mathbf{X} \mathbf{W}^{\top},

    and the student has :math:`\mathbf{X} \mathbf{W}^{\top}` at hand: the teacher needs no product
    with wide texts, and keeps :math:`M \cdot h` numbers in float32 or wider instead. Rounding
    errors fade as the momentum forgets them. What that saves shows in
    ``benchmarks/speed.py --model lightgcn_int``. The layer is computed anew whenever the teacher's
    weights or the rows were changed by others (see :class:`~irllrec_pyg.nn.snapshot.Snapshot`).

    Args:
        teacher (Teacher): A teacher whose ``"mlp"`` is a :class:`TextMLP`.
    """

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.mlp: TextMLP = teacher["mlp"]  # type: ignore[assignment]
        self.forget()

    def forget(self) -> None:
        """Has the hidden layer computed anew."""
        self._layer: list[Tensor] | None = None
        self._rows, self._weights, self._moves = Snapshot(), Snapshot(), 0

    def late_by(self, rows: Tensor) -> float | None:
        """The step that the layer has yet to make towards the student's; 0 if it is up to date,
        ``None`` if no step leads to the teacher's present weights for these rows.
        """
        moves = self.teacher.moves - self._moves
        kept = self._weights.matches(*self.mlp.parameters(), changes=moves)
        if not (kept and self._rows.matches(rows)):
            return None
        if moves == 0:
            return 0.0
        return 1 - self.teacher.momentum if moves == 1 and self.teacher.is_at_students() else None

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # compiled code knows no version counters
    @torch.no_grad()
    def __call__(self, rows: Tensor, x: Tensor, student_hidden: Sequence[Tensor]) -> Tensor:
        r"""The teacher's outputs, shape :math:`(M, d)`.

        Args:
            rows (Tensor): The texts that ``x`` comes from, by which the rows are recognised.
            x (Tensor): The rows, shape :math:`(M, T)`.
            student_hidden (sequence of Tensor): The student's hidden layer before its activation,
                in the blocks of :meth:`TextMLP.hidden`.
        """
        step = self.late_by(rows)
        layer = self._layer
        self.forget()  # until every row has moved
        if layer is None or step is None:
            step = 0.0
            # Steps of a thousandth would be lost in bfloat16.
            layer = [
                hidden.to(torch.promote_types(hidden.dtype, torch.float32))
                for hidden in self.mlp.hidden(x)
            ]
        out = [
            self.mlp.output([_move(slow, fast, step)])
            for slow, fast in zip(layer, student_hidden, strict=True)
        ]
        if not layer[0].is_inference():  # such a layer could not move in training
            self._layer, self._moves = layer, self.teacher.moves
            self._rows, self._weights = Snapshot(rows), Snapshot(*self.mlp.parameters())
        return torch.cat(out)


def _move(slow: Tensor, fast: Tensor, step: float) -> Tensor:
    """A copy, in the student's dtype, of rows that went a step towards the student's."""
    out = torch.empty_like(fast)
    rows = MOVED if slow.device.type == "cpu" else slow.size(0)
    for row in range(0, slow.size(0), rows):
        block = slice(row, row + rows)
        if step > 0:
            slow[block].lerp_(fast[block].to(slow.dtype), step)
        out[block] = slow[block]
    return out
