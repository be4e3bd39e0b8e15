r"""Reading pickled arrays and sparse matrices without running what is in the file.

The published data sets are pickles, and a pickle is a program. A plain allow-list of NumPy and
SciPy names is not enough: the ``BUILD`` opcode sets attributes on whatever was imported, so a file
could replace a method of ``scipy.sparse.coo_matrix`` for the whole process. Here no real class is
ever handed to the machine that reads the file. The few allowed names stand for inert recorders
defined below, which keep what the file says; arrays are built from the recorded bytes after every
field was checked.
"""

import codecs
import math
import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pickle_machine import DataFileError, Recorder, UnsafePickleError, load

__all__ = ["DataFileError", "SparseEntries", "UnsafePickleError", "safe_load"]

#: Largest number of rows or columns: with fewer, user times item fits into 64 bits.
_MAX_SIDE = (1 << 31) - 1


@dataclass(frozen=True)
class SparseEntries:
    r"""The entries of a pickled sparse matrix as the file states them; ids are not yet checked.

    Args:
        row (numpy.ndarray): Row of each entry, integers of shape :math:`(E)`.
        col (numpy.ndarray): Column of each entry, integers of shape :math:`(E)`.
        value (numpy.ndarray): Value of each entry, shape :math:`(E)`.
        shape (tuple): Number of rows and columns, each below :math:`2^{31}`.
    """

    row: NDArray[Any]
    col: NDArray[Any]
    value: NDArray[Any]
    shape: tuple[int, int]


class _Dtype(Recorder):
    r"""Stands for ``numpy.dtype``: a code such as ``f4`` and a byte order."""

    __slots__ = ("dtype",)

    def __init__(self, code: object) -> None:
        if not isinstance(code, str):
            raise DataFileError("it holds an array without a data type")
        if code.startswith("O"):
            raise DataFileError(
                "it holds an object array, not numbers: stack its rows into one float array"
            )
        if not re.fullmatch(r"b1|[iu][1248]|f(2|4|8)", code):
            raise DataFileError(
                f"it holds an array of type {code!r}; only bool, integer and float arrays are read"
            )
        self.dtype: np.dtype[Any] = np.dtype(code)

    def set_state(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in ("<", ">", "|", "=")):
            raise DataFileError("it holds a malformed array type")
        if any(field is not None for field in state[2:5]):
            raise DataFileError("it holds a structured array, not numbers")
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


def _as_shape(value: object) -> tuple[int, ...]:
    numbers = value if isinstance(value, tuple) and len(value) <= 8 else (None,)
    if any(type(n) is not int or n < 0 for n in numbers):
        raise DataFileError("it holds an array or a matrix without a valid shape")
    return numbers


class _Array(Recorder):
    r"""Stands for a ``numpy.ndarray`` that is being rebuilt."""

    __slots__ = ("_value",)

    @property
    def value(self) -> NDArray[Any]:
        if not hasattr(self, "_value"):
            raise DataFileError("it holds an array without content")
        return self._value

    def fill(self, shape: object, dtype: object, order: object, raw: object) -> "_Array":
        size = _as_shape(shape)
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
            raise DataFileError("it holds an array that is not plain numbers")
        expected = math.prod(size) * dtype.dtype.itemsize
        if len(raw) != expected:
            raise DataFileError(
                f"it holds an array of {len(raw)} bytes where its shape {size} needs {expected}"
            )
        flat = np.frombuffer(raw, dtype.dtype)
        self._value: NDArray[Any] = flat.reshape(size, order="C" if order == "C" else "F")
        return self

    def set_state(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise DataFileError("it holds a malformed array")
        self.fill(state[1], state[2], "F" if state[3] else "C", state[4])


class _Sparse(Recorder):
    r"""Stands for a sparse matrix class: keeps its state, which :meth:`entries` does not trust."""

    __slots__ = ("state",)
    kind = "COO"

    def set_state(self, state: object) -> None:
        self.state = state

    def entries(self) -> SparseEntries:
        state = getattr(self, "state", None)
        if not isinstance(state, dict):
            raise DataFileError("it holds an empty sparse matrix object")
        shape = _as_shape(state.get("_shape"))
        if len(shape) != 2:
            raise DataFileError(f"it holds a sparse matrix with {len(shape)} axes instead of 2")
        if max(shape) > _MAX_SIDE:
            raise DataFileError(
                f"its matrix must have at most {_MAX_SIDE:,} rows and columns, got "
                f"{shape[0]:,} x {shape[1]:,}"
            )
        value = _vector(state.get("data"), "biuf")
        if self.kind == "COO":
            # SciPy >= 1.13 writes `coords`, older releases `row` and `col`.
            coords = state.get("coords", (state.get("row"), state.get("col")))
            if not (isinstance(coords, tuple) and len(coords) == 2):
                raise DataFileError("it holds a damaged sparse matrix: no coordinates")
            row, col = (_vector(part, "iu") for part in coords)
        else:
            row, col = self._expand(state, shape[self.kind == "CSC"])
        if not len(row) == len(col) == len(value):
            raise DataFileError(
                f"its matrix lists {len(row)} rows, {len(col)} columns and {len(value)} values"
            )
        return SparseEntries(row, col, value, (shape[0], shape[1]))

    def _expand(self, state: dict[Any, Any], size: int) -> tuple[NDArray[Any], NDArray[Any]]:
        inner = _vector(state.get("indices"), "iu")
        ptr = _vector(state.get("indptr"), "iu").astype(np.int64)
        # Compared, never subtracted: a difference of false pointers can overflow to a valid one.
        ends = len(ptr) == size + 1 and ptr[0] == 0 and ptr[-1] == len(inner)
        if not ends or (ptr[1:] < ptr[:-1]).any():
            side = "row" if self.kind == "CSR" else "column"
            raise DataFileError(
                f"it holds a {self.kind} matrix whose {side} pointers do not fit its entries"
            )
        outer = np.repeat(np.arange(size), np.diff(ptr))
        return (outer, inner) if self.kind == "CSR" else (inner, outer)


class _Csr(_Sparse):
    __slots__ = ()
    kind = "CSR"


class _Csc(_Sparse):
    __slots__ = ()
    kind = "CSC"


def _vector(value: object, kinds: str) -> NDArray[Any]:
    array = value.value if isinstance(value, _Array) else None
    if array is None or array.ndim != 1 or array.dtype.kind not in kinds:
        raise DataFileError("it holds a sparse matrix without its index or value arrays")
    return array


_NDARRAY = object()


def _reconstruct(cls: object, *_: object) -> _Array:
    if cls is not _NDARRAY:
        raise UnsafePickleError("it tries to rebuild something that is not an array")
    return _Array()


def _dtype(code: object, *_: object) -> _Dtype:
    return _Dtype(code)


def _frombuffer(
    raw: object, dtype: object, shape: object, order: object, axes: object = None
) -> _Array:
    if order not in ("C", "F"):  # NumPy >= 2.3 writes "K" for some arrays of three or more axes
        raise DataFileError("it holds an array with permuted axes: save np.ascontiguousarray(it)")
    return _Array().fill(shape, dtype, order, raw)


def _encode(text: object, encoding: object = None) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise UnsafePickleError("it calls codecs.encode for something other than bytes")
    return codecs.latin_1_encode(text)[0]


def _no_bytes(*args: object) -> bytes:
    if args:
        raise UnsafePickleError("it calls bytes with arguments")
    return b""


def _rebuild(*_: object) -> object:
    raise UnsafePickleError("it tries to rebuild an object of another class")


_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _dtype,
    # What protocol 2 makes of bytes, which it does not know; `bytes` is called for the empty ones.
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    # What a DOK matrix asks for before its own name, which then says what the file holds.
    ("copyreg", "_reconstructor"): _rebuild,
    ("copy_reg", "_reconstructor"): _rebuild,
}
for _module in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_module}.multiarray", "_reconstruct"] = _reconstruct
    _ALLOWED[f"{_module}.numeric", "_frombuffer"] = _frombuffer
for _kind, _class in (("coo", _Sparse), ("csr", _Csr), ("csc", _Csc)):
    for _module in (f"scipy.sparse._{_kind}", f"scipy.sparse.{_kind}"):
        _ALLOWED[_module, f"{_kind}_matrix"] = _ALLOWED[_module, f"{_kind}_array"] = _class


def _find(module: str, name: str) -> object:
    try:
        return _ALLOWED[module, name]
    except KeyError:
        if other := re.fullmatch(r"scipy\.sparse\._?(lil|dok|bsr|dia)", module):
            raise DataFileError(
                f"it holds a sparse matrix in {other[1].upper()} format, and COO, CSR and CSC "
                "are read: save scipy.sparse.coo_matrix(it)"
            ) from None
        raise UnsafePickleError(
            f"it asks for {module[:100]}.{name[:100]}, which no array, sparse matrix or table of "
            "texts needs. Nothing of it was run. Get the file again from its source"
        ) from None


def safe_load(path: str | os.PathLike[str]) -> Any:
    r"""Reads a pickle of an array, a COO, CSR or CSC matrix, or plain containers.

    Args:
        path (str or os.PathLike): The file. Pickle protocols 2 to 5, written with old or new NumPy
            and SciPy, are read.

    Returns:
        A :class:`numpy.ndarray` (read-only), a :class:`SparseEntries`, or the plain object.

    Raises:
        FileNotFoundError: Where there is no such file.
        UnsafePickleError: Where the pickle asks for anything else; nothing of it was run.
        DataFileError: Where the file is truncated, is no pickle, holds arrays of objects, a sparse
            matrix in another format or of :math:`2^{31}` and more rows or columns, or exceeds the
            limits that keep a small file from taking much memory or time.
    """
    try:
        value = load(path, _find)
        if isinstance(value, _Array):
            return value.value
        return value.entries() if isinstance(value, _Sparse) else value
    except DataFileError as error:
        raise type(error)(f"{path} cannot be read: {error}.") from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise DataFileError(
            f"{path} is truncated or not a pickle ({os.path.getsize(path)} bytes, "
            f"{type(error).__name__}: {str(error)[:200]}). Delete it and get it again."
        ) from error
