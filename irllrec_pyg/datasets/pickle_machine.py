r"""A small machine for the part of the pickle language that arrays, matrices and texts need.

:mod:`pickletools` takes the file apart; what its opcodes build is built here, so that every one
of them has a bound. Python's own unpickler trusts the file with memory and time: a memo index
makes it allocate that much, a byte string its stated length, nested keys are hashed again and
again, and deeply nested ones overflow the stack of the process.
"""

import mmap
import os
import pickle
import pickletools
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

#: Opcodes that a file of any size may hold, and one more for so many of its bytes. The texts of
#: 80,000 users fit into the first number; a real file has an opcode for 50 bytes and more.
_MIN_OPCODES, _BYTES_AN_OPCODE = 1_000_000, 8
_MAX_MARKS = 100  # containers open at once
_MAX_INT = 1 << 64
_MAX_KEY = (1 << 18) - 1  # of integers as keys, in whatever order


class DataFileError(ValueError):
    r"""A data file that cannot be used as it is; the message names the file and says what to do."""


class UnsafePickleError(DataFileError, pickle.UnpicklingError):
    r"""A pickle that asks for more than numbers, text and plain containers; nothing of it ran."""


class Recorder:
    r"""Stands for an object of the file and keeps what the file says about it."""

    __slots__ = ()

    def set_state(self, state: object) -> None:
        r"""Takes the state that the file gives the object.

        Args:
            state (object): Anything that the file can hold; it is not to be trusted.
        """
        raise NotImplementedError


def load(path: str | os.PathLike[str], find: Callable[[str, str], object]) -> Any:
    r"""Builds the object of a pickle.

    Args:
        path (str or os.PathLike): The file, in pickle protocol 2 to 5.
        find (callable): Gives what stands for a global of the file: a plain function that may be
            called with any arguments, a :class:`Recorder` class, or a marker. Must raise for
            every other name.

    Raises:
        UnsafePickleError: For an opcode that no array, matrix or table of texts needs.
        DataFileError: For a file beyond the limits of this module.
        Exception: Anything, for a damaged file.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # Mapped: a stated length beyond the end of the file allocates nothing.
        machine = _Machine(len(content), find)
        for opcode, argument, _ in pickletools.genops(content):  # type: ignore[arg-type]
            machine.step(opcode.name, argument)
        return machine.stack.pop()


class _Machine:
    def __init__(self, size: int, find: Callable[[str, str], object]) -> None:
        self.size, self.find = size, find
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.num_opcodes = self.num_encoded = 0

    def step(self, name: str, argument: Any) -> None:
        self.num_opcodes += 1
        if self.num_opcodes > _MIN_OPCODES + self.size // _BYTES_AN_OPCODE:
            raise DataFileError(
                f"it has more than {self.num_opcodes - 1} opcodes in {self.size} bytes, which no "
                "array, sparse matrix or table of texts has"
            )
        if _LITERAL.fullmatch(name):
            if type(argument) is int and abs(argument) > _MAX_INT:
                raise DataFileError("it holds an integer of more than 64 bits")
            self.stack.append(argument)
            return
        action = _ACTIONS.get(name)
        if action is None:
            raise UnsafePickleError(
                f"it uses the opcode {name}, which no array, sparse matrix or table of texts "
                "needs. Nothing of it was run. Get the file again from its source"
            )
        action(self, argument)

    def _header(self, argument: int | None) -> None:
        if argument is not None and argument > self.size:
            raise pickle.UnpicklingError(f"{argument} bytes announced")

    def _put(self, index: int) -> None:
        if not 0 <= index <= self.num_opcodes:
            raise DataFileError(f"it numbers an object {index}, and has fewer objects")
        self.memo[index] = self.stack[-1]

    def _mark(self, _: object) -> None:
        if len(self.marks) == _MAX_MARKS:
            raise DataFileError(f"it nests more than {_MAX_MARKS} containers")
        self.marks.append(self.stack)
        self.stack = []

    def _take_marked(self) -> list[Any]:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def _tuple(self, length: int | None) -> None:
        items = self._take_marked() if length is None else [self.stack.pop() for _ in range(length)]
        self.stack.append(tuple(items if length is None else items[::-1]))

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise DataFileError("it appends to something that is not a list")
        self.stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise DataFileError("it puts entries into something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # The hash of nested tuples takes exponential time, or the process.
            if type(key) not in (int, str):
                raise DataFileError(
                    f"it holds a dictionary with a key of type {type(key).__name__}, and integers "
                    "and texts are read"
                )
            # Of integers, too, hashes can be chosen so that all collide, unless they are as dense
            # as positions are.
            if type(key) is int and not 0 <= key <= max(_MAX_KEY, len(self.stack[-1])):
                raise DataFileError(
                    f"it holds a dictionary with the key {key} among {len(self.stack[-1])}; keys "
                    "are positions of users or items, in their order where there are many"
                )
            self.stack[-1][key] = value

    def _append_to(self, empty: list[Any] | dict[Any, Any]) -> None:
        items = self._take_marked()
        self.stack.append(empty)
        (self._extend if type(empty) is list else self._update)(items)

    def _global(self, argument: str | None) -> None:
        if argument is None:
            name, module = self.stack.pop(), self.stack.pop()
        else:
            module, _, name = argument.partition(" ")
        if not (isinstance(name, str) and isinstance(module, str)):
            raise UnsafePickleError("it asks for a name that is not text")
        self.stack.append(self.find(module, name))

    def _call(self, _: object) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, types.FunctionType) or type(arguments) is not tuple:
            raise UnsafePickleError("it calls something that is not a function")
        result = function(*arguments)
        # Texts that stand for bytes: one text, encoded again and again, would fill the memory.
        self.num_encoded += len(result) if isinstance(result, bytes) else 0
        if self.num_encoded > self.size:
            raise DataFileError("it makes more bytes than it has")
        self.stack.append(result)

    def _new(self, _: object) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if not isinstance(kind, type) or arguments != ():
            raise UnsafePickleError("it makes an object of something that is not a class")
        self.stack.append(kind())

    def _build(self, _: object) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Recorder):
            raise UnsafePickleError("it tries to change a function, a class or a plain value")
        self.stack[-1].set_state(state)


#: Opcodes that put their argument on the stack.
_LITERAL = re.compile(
    "(BININT|SHORT_BINUNICODE|BINUNICODE|SHORT_BINBYTES|BINBYTES)[128]?|"
    "INT|LONG[14]?|FLOAT|BINFLOAT|UNICODE|BYTEARRAY8"
)
_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _Machine._header),
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine._put),
    "MEMOIZE": lambda m, _: m._put(len(m.memo)),
    **dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"), lambda m, index: m.stack.append(m.memo[index])
    ),
    "MARK": _Machine._mark,
    "TUPLE1": lambda m, _: m._tuple(1),
    "TUPLE2": lambda m, _: m._tuple(2),
    "TUPLE3": lambda m, _: m._tuple(3),
    "TUPLE": lambda m, _: m._tuple(None),
    "LIST": lambda m, _: m._append_to([]),
    "DICT": lambda m, _: m._append_to({}),
    "APPEND": lambda m, _: m._extend([m.stack.pop()]),
    "APPENDS": lambda m, _: m._extend(m._take_marked()),
    "SETITEM": lambda m, _: m._update([m.stack.pop(-2), m.stack.pop()]),
    "SETITEMS": lambda m, _: m._update(m._take_marked()),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), _Machine._global),
    "REDUCE": _Machine._call,
    "NEWOBJ": _Machine._new,
    "BUILD": _Machine._build,
}
