r"""Nodes without a generated text: a text from attributes, or the mean of the neighbours."""

import re
from collections import Counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .profiles import cut
from .prompts import StepName
from .source import Side, TrainingTexts

Origin = Literal["model", "attributes", "neighbours", "mean"]
WORDS = 80
COMMON = 6


def fallback_text(source: TrainingTexts, step: StepName, node: int) -> str:
    r"""A text made without a model, or an empty string where nothing is known.

    Items are described by their title, attributes and description, users by the titles and the
    commonest attributes of their training items.
    """
    if step.startswith("item"):
        return _item_text(source, node)
    return _user_text(source, node, "likes" if step == "user_intent" else "The user enjoys")


def fill_missing(
    source: TrainingTexts,
    vectors: dict[Side, NDArray[np.float32]],
    origins: dict[Side, list[Origin | None]],
) -> None:
    r"""Gives the nodes without a text an embedding, in place.

    A node takes the mean of its training neighbours' embeddings; neighbours that have none
    themselves wait for the next round, and what no round reaches takes the mean of its side.

    Args:
        source (TrainingTexts): The training graph.
        vectors (dict): One row a node on each side.
        origins (dict): What each row came from; ``None`` means that it is to be filled.

    Raises:
        ValueError: If no node at all has a text.
    """
    if all(origin is None for side in origins.values() for origin in side):
        raise ValueError(
            "No user and no item has a text: the items table needs titles, "
            "descriptions or attributes."
        )
    sides: tuple[Side, Side] = ("item", "user")
    progress = True
    while progress:
        progress = False
        for side in sides:
            other: Side = "user" if side == "item" else "item"
            for node in [n for n, origin in enumerate(origins[side]) if origin is None]:
                known = [
                    int(n) for n in source.neighbours(side, node) if origins[other][n] is not None
                ]
                if known:
                    vectors[side][node] = vectors[other][known].mean(axis=0)
                    origins[side][node] = "neighbours"
                    progress = True
    for side in sides:
        lost = [n for n, origin in enumerate(origins[side]) if origin is None]
        found = [n for n, origin in enumerate(origins[side]) if origin is not None]
        if lost:
            everything = (
                vectors[side][found]
                if found
                else np.concatenate(
                    [
                        vectors[s][[n for n, o in enumerate(origins[s]) if o is not None]]
                        for s in sides
                    ]
                )
            )
            vectors[side][lost] = everything.mean(axis=0)
            for node in lost:
                origins[side][node] = "mean"


def _item_text(source: TrainingTexts, item: int) -> str:
    attributes = "; ".join(f"{name}: {value}" for name, value in source.attributes[item].items())
    parts = [source.titles[item], attributes, cut(source.descriptions[item], WORDS)]
    return ". ".join(part.rstrip(".") for part in parts if part)


def _user_text(source: TrainingTexts, user: int, beginning: str) -> str:
    items = [int(item) for item in source.items_of(user) if source.has_text(int(item))]
    if not items:
        return ""
    # "Comedy, Drama" and "Comedy|Drama" are two values in one cell.
    values = Counter(
        part
        for item in items
        for value in source.attributes[item].values()
        for part in re.split(r"\s*[,|]\s*", value)
        if part
    )
    common = ", ".join(value for value, _ in values.most_common(COMMON))
    titles = ", ".join(title for item in items[:COMMON] if (title := source.titles[item]))
    if not common and not titles:
        titles = " ".join(cut(source.descriptions[item], 20) for item in items[:COMMON])
    return f"{beginning} {'; '.join(part for part in (common, titles) if part)}"
