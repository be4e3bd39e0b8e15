r"""What is wrong with texts at first sight: empty, refused, all alike."""

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..text.encoding import Vectors
from ..text.words import plain

#: What models say in place of an answer, and what tables hold in place of a text.
REFUSED = re.compile(
    r"i(’|')?( a)?m (sorry,? (but )?i\b|unable to|not able to)"
    r"|\bi (cannot|can(’|')t|could not) (help|assist|provide|fulfil|write|create|generate|comply)"
    r"|\bas an ai\b"
    r"|\bi (do not|don(’|')t) have (enough |any )?(information|access|context|knowledge)"
    r"|^\W*(n/a|null|none|nan|undefined|tbd|todo)?\W*$",
    re.IGNORECASE,
)
#: Texts that share so many of their words say the same.
ALIKE = 0.8
EXAMPLES = 3
_ROWS = 1024  # whose similarities are held at once


@dataclass(frozen=True)
class Faults:
    r"""Counts of texts and examples of what is wrong.

    Args:
        texts (int): How many there should be.
        empty (int): Those that are not there.
        refused (int): Those in which a model refuses, or that stand for nothing, such as ``"n/a"``.
        same (int): Those that another item has to the letter, but for case and blanks.
        near (int): Those that share 80 % of their words with the text that is nearest by its
            embedding, the same ones not counted.
        characters (int): Of all texts.
        longest (int): Characters of the longest.
        examples (dict): Some of each kind, cut to 160 characters; pairs for those that are alike.
    """

    texts: int
    empty: int
    refused: int
    same: int
    near: int
    characters: int
    longest: int
    examples: dict[str, list[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def find_faults(texts: list[str], vectors: Vectors) -> Faults:
    r"""Counts what is wrong with texts at first sight.

    Args:
        texts (list of str): Of the nodes, ``""`` for those without one.
        vectors (numpy.ndarray): Their embeddings, by which the nearest text is found, of shape
            :math:`(N, T)`.
    """
    reduced = [" ".join(plain(text).split()) for text in texts]
    refused = [text for text in texts if text and REFUSED.search(text)]
    times = Counter(text for text in reduced if text)
    same = [text for text, short in zip(texts, reduced, strict=True) if times.get(short, 0) > 1]
    near = _near(reduced, vectors)
    examples = {
        "refused": refused,
        "same": list(dict.fromkeys(same)),
        "near": [f"{texts[one][:75]} | {texts[other][:75]}" for one, other in near],
    }
    return Faults(
        len(texts),
        sum(not text for text in texts),
        len(refused),
        len(same),
        len(near),
        sum(map(len, texts)),
        max(map(len, texts), default=0),
        {kind: [text[:160] for text in some[:EXAMPLES]] for kind, some in examples.items() if some},
    )


def _near(texts: list[str], vectors: Vectors) -> list[tuple[int, int]]:
    """Texts whose nearest other text has nearly the same words, and that text."""
    first = {text: place for place, text in reversed(list(enumerate(texts))) if text}
    places = np.array(sorted(first.values()), dtype=np.int64)
    words = [set(texts[place].split()) for place in places]
    rows, found = vectors[places], []
    for at in range(0, len(places), _ROWS):
        alike = rows[at : at + _ROWS] @ rows.T
        alike[np.arange(len(alike)), np.arange(at, at + len(alike))] = -np.inf
        for row, other in enumerate(alike.argmax(axis=1)):
            one, two = words[at + row], words[other]
            if at + row != other and len(one & two) >= ALIKE * len(one | two):
                found.append((int(places[at + row]), int(places[other])))
    return found
