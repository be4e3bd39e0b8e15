r"""The words of texts as vectors: what an average of word vectors blurs, a name or a series."""

import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .embeddings import unit_length
from .encoders import check_installed
from .encoding import EncoderError, Vectors

#: A word in more of the texts than this tells little of one, such as "the".
MOST = 0.3
#: Of so few texts, a share says nothing: all words count.
FEW = 20


class WordsEncoder:
    r"""Words and pairs of words that stand side by side, weighted by tf-idf and reduced by a
    truncated singular value decomposition (`"Indexing by Latent Semantic Analysis"
    <https://doi.org/10.1002/(SICI)1097-4571(199009)41:6%3C391::AID-ASI1%3E3.0.CO;2-9>`_).

    .. math::
        \mathbf{A}_{dt} \propto (1 + \ln f_{dt}) \left(1 + \ln \frac{1 + N}{1 + n_t}\right), \quad
        \mathbf{A} \approx \mathbf{U} \boldsymbol{\Sigma} \mathbf{V}^{\top}, \quad
        \mathbf{X} = \mathbf{A} \mathbf{V},

    with the count :math:`f_{dt}` of term :math:`t` in text :math:`d` and the number :math:`n_t` of
    texts that hold it; rows of :math:`\mathbf{A}` and of :math:`\mathbf{X}` have length 1.

    What a column means depends on all texts: unlike the other encoders this one is fitted on a
    corpus, and its vectors of different corpora cannot be compared. Terms of one text alone, and
    those of more than 30 % of the texts, are left out, unless there are 20 texts or fewer or no
    term is left. Words are what Python's ``\w+`` finds, however short, without regard to case.

    Args:
        width (int): The largest number of columns; there are never more than texts or terms.
            (default: ``512``)

    Raises:
        ImportError: If scikit-learn is missing; says what to install.
        ValueError: If ``width`` is below 1.

    Example:
        >>> books = ["Dune by Frank Herbert", "Dune Messiah by Herbert", "Emma by Jane Austen"]
        >>> words = WordsEncoder().fit(books)
        >>> (words(["Jane Austen"]) @ words(books).T).argmax().item()
        2
    """

    def __init__(self, width: int = 512) -> None:
        check_installed("sklearn", "encode")
        if width < 1:
            raise ValueError(f"'width' must be at least 1, got {width}.")
        self.name, self.width = f"words-{width}", width

    def fit(self, texts: list[str]) -> "FittedWords":
        r"""The encoder of a corpus; the same texts give the same one, with the same signs.

        Args:
            texts (list of str): The corpus; empty texts count for nothing.

        Raises:
            EncoderError: If no text holds a word.
        """
        return _fit(self.name, self.width, tuple(text for text in texts if text))


@lru_cache(maxsize=2)  # the splits of a data set have the same texts
def _fit(name: str, width: int, texts: tuple[str, ...]) -> "FittedWords":
    from sklearn.utils.extmath import randomized_svd

    counter, weighted = _counted(name, texts)
    # All columns, where texts or terms are few: the decomposition is then exact.
    columns = min(width, *weighted.shape)
    *_, directions = randomized_svd(weighted, columns, n_iter=4, random_state=0)
    return FittedWords(name, counter, directions.T)


def _counted(name: str, texts: tuple[str, ...]) -> tuple[Any, Any]:
    """What weighs the terms of texts, and their weights, sparse of shape (N, V)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    bounds = (2, int(MOST * len(texts))) if len(texts) > FEW else (1, max(1, len(texts)))
    for least, most in (bounds, (1, max(1, len(texts)))):
        counter = TfidfVectorizer(
            preprocessor=plain,
            token_pattern=r"\w+",  # its own default leaves out words of one letter
            ngram_range=(1, 2),
            min_df=least,
            max_df=most,
            sublinear_tf=True,
            dtype=np.float32,  # the decomposition is then in single precision, which is faster
        )
        try:
            return counter, counter.fit_transform(texts)
        except ValueError:  # no term is left
            continue
    raise EncoderError(
        f"The encoder {name!r} found no word in any of {len(texts)} texts, such as "
        f"{(texts or [''])[0][:80]!r}. Take another encoder, or other columns."
    )


class FittedWords:
    r"""What :meth:`WordsEncoder.fit` gives: an encoder of any texts by the words of the corpus.

    Args:
        name (str): That of the encoder which was fitted.
        counter (TfidfVectorizer): What weighs the words.
        directions (ndarray): :math:`\mathbf{V}`, shape :math:`(V, T)`.
    """

    def __init__(self, name: str, counter: Any, directions: NDArray[np.float32]) -> None:
        self.name, self._counter, self._directions = name, counter, directions

    def __call__(self, texts: list[str]) -> Vectors:
        r"""Vectors of length 1; zeros for texts without a word of the corpus.

        Shapes:
            - **output:** float32 of shape :math:`(N, T)`.
        """
        width = self._directions.shape[1]
        if not texts:
            return np.zeros((0, width), np.float32)
        return unit_length(self._counter.transform(texts) @ self._directions)


def plain(text: str) -> str:
    r"""A text without regard to case and to how its accents are encoded."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
