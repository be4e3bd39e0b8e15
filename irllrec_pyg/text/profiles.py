r"""What the prompts of item and user profiles are filled with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .source import TrainingTexts

Context = dict[str, Any]


@dataclass(frozen=True)
class Sampling:
    r"""How much of the tables goes into a prompt. Every choice is a function of seed and node.

    Args:
        items (int): Training items in a user's prompt at most. (default: ``10``)
        reviews (int): Reviews in an item's prompt at most. (default: ``5``)
        description_words (int): Words of a description at most. (default: ``300``)
        review_words (int): Words of a review at most. (default: ``120``)
        seed (int): For the samples. (default: ``0``)
    """

    items: int = 10
    reviews: int = 5
    description_words: int = 300
    review_words: int = 120
    seed: int = 0


def item_context(source: TrainingTexts, sampling: Sampling, item: int) -> Context | None:
    """Title and description, or title, attributes and reviews; ``None`` without any text."""
    if not source.has_text(item):
        return None
    reviews = sample(source.reviewers(item), sampling.reviews, sampling.seed, 1, item)
    return {
        "item": {
            "title": source.titles[item],
            "description": cut(source.descriptions[item], sampling.description_words),
            "attributes": source.attributes[item],
            "reviews": [cut(source.review(user, item), sampling.review_words) for user in reviews],
        }
    }


def user_context(
    source: TrainingTexts, sampling: Sampling, user: int, profiles: Mapping[int, str]
) -> Context | None:
    """A sample of the training items with text; ``None`` without any."""
    chosen = sample(source.items_of(user).tolist(), sampling.items, sampling.seed, 0, user)
    history = [
        {
            "title": source.titles[item],
            "profile": profiles.get(item) or describe(source, sampling, item),
            "review": cut(source.review(user, item), sampling.review_words),
        }
        for item in chosen
        if source.has_text(item)
    ]
    return {"history": history} if history else None


def describe(source: TrainingTexts, sampling: Sampling, item: int) -> str:
    """What stands for the profile of an item that has none: its description or attributes."""
    return cut(source.descriptions[item], sampling.description_words) or "; ".join(
        f"{name}: {value}" for name, value in source.attributes[item].items()
    )


def sample(nodes: Any, size: int, seed: int, side: int, node: int) -> list[int]:
    """A uniform sample in ascending order, the same whenever it is drawn."""
    if len(nodes) <= size:
        return list(nodes)
    generator = np.random.default_rng([seed, side, node])
    return [nodes[i] for i in sorted(generator.choice(len(nodes), size, replace=False).tolist())]


def cut(text: str, words: int) -> str:
    """The first words of a text, on one line."""
    parts = text.split()
    return " ".join(parts) if len(parts) <= words else " ".join(parts[:words]) + " …"
