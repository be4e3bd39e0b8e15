r"""Views of the same texts, side by side: encoders whose names are joined by "+"."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .embeddings import unit_length, unit_vectors
from .encoders import build_encoder
from .encoding import Encoder, TextsToVectors, Vectors, as_encoder
from .words import WordsEncoder


@runtime_checkable
class CorpusEncoder(Protocol):
    """An encoder whose vectors depend on all texts, such as :class:`WordsEncoder`."""

    #: A name that changes whenever the result for the same corpus may change.
    name: str

    def fit(self, texts: list[str]) -> Callable[[list[str]], Vectors]:
        """What gives texts, of the corpus or others, one vector each; zeros where it knows none."""


class Views:
    r"""Several encoders of the same texts.

    Each view's vectors have length 1, so that none outweighs another; the rows of all views side by
    side are scaled to length 1 again. Two texts' similarity is then the mean of the views'.

    Args:
        views (list): Encoders: an :class:`~irllrec_pyg.text.encoding.Encoder`, whatever has a
            ``name`` and ``encode(texts)``, or a :class:`CorpusEncoder`.

    Raises:
        TypeError: If one of them is no encoder.
        ValueError: If there is none, or one twice.
    """

    def __init__(self, views: "list[TextsToVectors | CorpusEncoder]") -> None:
        self.views = [v if isinstance(v, CorpusEncoder) else as_encoder(v) for v in views]
        names = [view.name for view in self.views]
        if not views or len(set(names)) < len(names):
            raise ValueError(f"'views' must be different encoders, got {', '.join(names) or None}.")
        self.name = "+".join(names)


AnyEncoder = TextsToVectors | CorpusEncoder | Views


def build_views(name: str, **endpoint: Any) -> Encoder | CorpusEncoder | Views:
    r"""The encoder of a name, or the views of names joined by "+".

    Args:
        name (str): Names as of :func:`~irllrec_pyg.text.encoders.build_encoder` or ``"words"``
            (:class:`WordsEncoder`), such as ``"wordllama+words"``.
        **endpoint: Further arguments of :class:`~irllrec_pyg.text.encoders.EndpointEncoder`.

    Raises:
        ValueError: If there is no such encoder, or one is named twice.
        ImportError: If a package is not installed; says what to install.
    """
    views: list[TextsToVectors | CorpusEncoder] = [
        WordsEncoder() if part == "words" else build_encoder(part, **endpoint)
        for part in name.split("+")
    ]
    found = Views(views)
    return found.views[0] if len(views) == 1 else found


def fitted(encoder: AnyEncoder, corpus: list[str], folder: str) -> Callable[[list[str]], Vectors]:
    r"""What turns texts into vectors of length 1; zeros for empty texts.

    Vectors of an encoder are kept by their texts' hash as by
    :func:`~irllrec_pyg.text.embeddings.unit_vectors`. What is fitted is computed anew, in
    seconds: it changes with every text of the corpus.

    Args:
        encoder (AnyEncoder): One view or several.
        corpus (list of str): The texts of the items, which a :class:`CorpusEncoder` is fitted on.
        folder (str): The folder that the embeddings belong to.
    """
    views = (encoder if isinstance(encoder, Views) else Views([encoder])).views
    parts = [_fitted(view, corpus, folder) for view in views]

    def vectors(texts: list[str]) -> Vectors:
        found = [part(texts) for part in parts]
        return found[0] if len(found) == 1 else unit_length(np.hstack(found))

    return vectors


def _fitted(
    view: Encoder | CorpusEncoder, corpus: list[str], folder: str
) -> Callable[[list[str]], Vectors]:
    if isinstance(view, CorpusEncoder):
        return view.fit(corpus)
    return lambda texts: unit_vectors(view, texts, folder)
