"""A momentum teacher over inputs that never change."""

import torch
from torch import Tensor

from ..mlp import TextMLP

ROWS = 4096  # of the hidden layer that are activated at once


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
    weights were changed by others (but not through ``.data``, which nobody can see).

    Args:
        momentum (float): :math:`m`.
    """

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self.hidden: Tensor | None = None
        self.versions: list[tuple[int, int]] = []

    def forget(self) -> None:
        """Has the hidden layer computed anew."""
        self.hidden = None

    def knows(self, teacher: torch.nn.Module) -> bool:
        """Whether the hidden layer is that of the teacher's present weights."""
        return self.hidden is not None and self.versions == _versions(teacher)

    def __call__(self, teacher: TextMLP, x: Tensor, student_hidden: Tensor, moved: bool) -> Tensor:
        r"""The teacher's outputs, shape :math:`(M, d)`.

        Args:
            teacher (TextMLP): The teacher.
            x (Tensor): The rows, shape :math:`(M, T)`; always the same.
            student_hidden (Tensor): The student's hidden layer before its activation, shape
                :math:`(M, h)`.
            moved (bool): Whether the teacher's weights have moved by one step towards the
                student's since :meth:`knows` said that its hidden layer was known.
        """
        with torch.no_grad():
            if self.hidden is None or not (moved or self.knows(teacher)):
                hidden = teacher.hidden(x)
                # Steps of a thousandth would be lost in bfloat16.
                self.hidden = hidden if hidden.dtype == torch.float64 else hidden.float()
                moved = False
            self.versions = _versions(teacher)
            out = []
            for slow, fast in zip(self.hidden.split(ROWS), student_hidden.split(ROWS), strict=True):
                if moved:
                    slow.lerp_(fast.to(slow.dtype), 1 - self.momentum)
                out.append(teacher.output(slow.clone()))
            return torch.cat(out)


def _versions(teacher: torch.nn.Module) -> list[tuple[int, int]]:
    return [(parameter.data_ptr(), parameter._version) for parameter in teacher.parameters()]
