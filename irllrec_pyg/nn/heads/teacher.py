"""A momentum teacher: a slow copy of the modules that it teaches."""

import copy

import torch
from torch.nn import Module, Parameter

from ..snapshot import Snapshot


class Teacher(torch.nn.ModuleDict):
    r"""Moving averages of some modules, the students, that start as their copies.

    Once an optimiser step, :math:`\theta^m \leftarrow m \, \theta^m + (1 - m) \, \theta`. The
    teacher's weights take no gradient and are in the state dict; the students stay their owners'
    and are not, so none is stored twice.

    Args:
        momentum (float): :math:`m`, from 0 to 1.
        **students (torch.nn.Module): The modules by name; the copies have the same names.
    """

    def __init__(self, momentum: float, **students: Module) -> None:
        super().__init__({name: copy.deepcopy(student) for name, student in students.items()})
        self.requires_grad_(False)
        self.momentum = momentum
        self._moves = 0
        self._students = students  # a plain dictionary, in which PyTorch looks for no modules
        self._moved_towards = Snapshot()

    @property
    def moves(self) -> int:
        """How often it has moved; each time, every weight changed in place once."""
        return self._moves

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # compiled code knows no version counters
    def step(self) -> None:
        """Moves towards the students, if these changed since it last moved or it never has.

        So it moves once an optimiser step, however often it is called;
        :class:`~irllrec_pyg.nn.snapshot.Snapshot` says which changes are noticed.
        """
        if not self.is_at_students():
            self._moves += 1
            self._move(1 - self.momentum)
            self._moved_towards = Snapshot(*self._student_weights())

    def is_at_students(self) -> bool:
        """Whether the students are unchanged since the last move."""
        return self._moved_towards.matches(*self._student_weights())

    def reset(self) -> None:
        """Makes the teacher a copy of its students again."""
        self._move(1.0)

    @torch.no_grad()
    def _move(self, step: float) -> None:
        for slow, fast in zip(self.parameters(), self._student_weights(), strict=True):
            slow.lerp_(fast, step)

    def _student_weights(self) -> list[Parameter]:
        return [weight for student in self._students.values() for weight in student.parameters()]
