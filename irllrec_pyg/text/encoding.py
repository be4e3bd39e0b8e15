r"""What an encoder is: texts in, one finite vector a text out, in batches that can be kept."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors = NDArray[np.float32]
OnBatch = Callable[[list[str], Vectors], None]
#: A batch ends before its texts, padded to the longest, would have more characters than this.
BATCH_CHARACTERS = 1 << 18


class EncoderError(ValueError):
    """An encoder that gave something other than one finite vector a text."""


class TextsToVectors(Protocol):
    """What anybody's encoder needs; :func:`as_encoder` makes an :class:`Encoder` of it."""

    #: A name that changes whenever the result may change: vectors are kept under it.
    name: str

    def encode(self, texts: list[str]) -> ArrayLike:
        """One vector a text, of shape ``(N, T)``."""


class Encoder:
    r"""Base class of encoders. A subclass sets :attr:`name` and implements :meth:`vectors`.

    Texts go in batches of neighbouring length, the longest first: little is padded, and what does
    not fit into memory fails at once.
    """

    #: A name that changes whenever the result may change: vectors are kept under it.
    name: str
    #: Texts a batch at most.
    batch_size: int = 64

    def encode(self, texts: list[str], on_batch: OnBatch | None = None) -> Vectors:
        r"""The vectors of texts.

        Args:
            texts (list of str): The texts.
            on_batch (callable, optional): Is given each batch of texts and its vectors as soon as
                they are there, so that what is paid for can be kept. (default: ``None``)

        Shapes:
            - **output:** float32 of shape :math:`(N, T)`, in the order of the texts;
              :math:`(0, 0)` where there are none.

        Raises:
            EncoderError: If there is not one finite vector of one width for each text.
        """
        places = batches(texts, self.batch_size)
        inputs = [[texts[place] for place in batch] for batch in places]
        rows = np.zeros((0, 0), np.float32)

        def keep(number: int, vectors: ArrayLike) -> None:
            nonlocal rows
            found = check(vectors, inputs[number], self.name)
            if not rows.size:
                rows = np.zeros((len(texts), found.shape[1]), np.float32)
            if found.shape[1] != rows.shape[1]:
                raise EncoderError(
                    f"The encoder {self.name!r} gave vectors of width {rows.shape[1]} and of width "
                    f"{found.shape[1]}."
                )
            rows[places[number]] = found
            if on_batch is not None:
                on_batch(inputs[number], found)

        self.run(inputs, keep)
        return rows

    def run(self, inputs: list[list[str]], keep: Callable[[int, ArrayLike], None]) -> None:
        """Hands over the number of each batch and its vectors, in any order."""
        for number, batch in enumerate(inputs):
            keep(number, self.vectors(batch))

    def vectors(self, texts: list[str]) -> ArrayLike:
        """The vectors of one batch."""
        raise NotImplementedError


class FunctionEncoder(Encoder):
    r"""Any function from texts to vectors.

    Args:
        function (callable): Takes a list of texts and gives one vector a text.
        name (str): A name that changes whenever the function does: vectors are kept under it.
        batch_size (int): Texts a batch. (default: ``256``)

    Example:
        >>> lengths = FunctionEncoder(lambda texts: [[len(text), 1] for text in texts], "lengths")
        >>> lengths.encode(["a", "abc"]).tolist()
        [[1.0, 1.0], [3.0, 1.0]]
    """

    def __init__(
        self, function: Callable[[list[str]], ArrayLike], name: str, batch_size: int = 256
    ) -> None:
        self.name, self.batch_size, self._function = name, batch_size, function

    def vectors(self, texts: list[str]) -> ArrayLike:
        """See :class:`Encoder`."""
        return self._function(texts)


def as_encoder(encoder: Encoder | TextsToVectors) -> Encoder:
    r"""An :class:`Encoder` of anything that has a ``name`` and ``encode(texts)``.

    Raises:
        TypeError: If it is none; says what to do.
    """
    if isinstance(encoder, Encoder):
        return encoder
    function, name = getattr(encoder, "encode", None), getattr(encoder, "name", None)
    if not callable(function) or not isinstance(name, str):
        raise TypeError(
            f"An encoder needs a 'name' and 'encode(texts)', got {type(encoder).__name__}; "
            "FunctionEncoder(function, name) makes one of any function."
        )
    return FunctionEncoder(function, name)


def batches(texts: list[str], size: int) -> list[list[int]]:
    r"""Positions of texts in batches of neighbouring length, the longest first.

    Args:
        texts (list of str): The texts.
        size (int): Texts a batch at most; fewer where they are long, but at least one.
    """
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    found, at = [], 0
    while at < len(order):
        longest = max(1, len(texts[order[at]]))
        count = max(1, min(size, BATCH_CHARACTERS // longest))
        found.append(order[at : at + count])
        at += count
    return found


def check(vectors: Any, texts: list[str], name: str) -> Vectors:
    r"""Makes sure that there is one finite vector a text.

    Raises:
        EncoderError: If not; a chat model at an embeddings endpoint, for one, may answer with
            one vector a token.
    """
    try:
        result = np.asarray(vectors, np.float32)
    except (ValueError, TypeError):
        raise EncoderError(
            f"The encoder {name!r} gave vectors of several widths, or none."
        ) from None
    if result.ndim != 2 or result.shape[0] != len(texts) or not result.shape[1]:
        raise EncoderError(
            f"The encoder {name!r} gave an array of shape {result.shape} for "
            f"{len(texts)} texts; one vector a text is needed. Is it a chat model "
            "at an embeddings endpoint?"
        )
    if not np.isfinite(result).all():
        row = int(np.flatnonzero(~np.isfinite(result).all(axis=1))[0])
        raise EncoderError(
            f"The encoder {name!r} gave NaN or infinity for the text {texts[row][:80]!r}."
        )
    return result
