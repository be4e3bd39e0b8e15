r"""Nodes without a generated text: a text from attributes, or the mean of the neighbours."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

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
    vectors: Mapping[Side, NDArray[Any]],
    origins: dict[Side, list[Origin | None]],
) -> dict[Side, list[int]]:
    r"""Gives the nodes without a text an embedding, in place.

    A node takes the mean of its training neighbours' embeddings; neighbours that have none
    themselves wait for the next round, and what no round reaches takes the mean of its side.

    Args:
        source (TrainingTexts): The training graph.
        vectors (dict): One row a node on each side; at least one was filled before.
        origins (dict): What each row came from; ``None`` means that it is to be filled.

    Returns:
        The nodes that got one.
    """
    others: dict[Side, Side] = {"item": "user", "user": "item"}
    lost = {
        side: [n for n, origin in enumerate(origins[side]) if origin is None] for side in others
    }
    filled, before = dict(lost), -1
    while before != (before := sum(map(len, lost.values()))):
        for side, other in others.items():
            waiting, lost[side] = lost[side], []
            for node in waiting:
                neighbours = source.neighbours(side, node).tolist()
                if known := [n for n in neighbours if origins[other][n] is not None]:
                    vectors[side][node] = vectors[other][known].mean(axis=0, dtype=np.float32)
                    origins[side][node] = "neighbours"
                else:
                    lost[side].append(node)
    for side, nodes in lost.items():
        if nodes:
            own: list[Side] = [side] if any(origins[side]) else list(others)
            rows = [vectors[s][[origin is not None for origin in origins[s]]] for s in own]
            vectors[side][nodes] = np.concatenate(rows).mean(axis=0, dtype=np.float32)
            for node in nodes:
                origins[side][node] = "mean"
    return filled


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
