r"""What the prompts are filled with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .prompts import StepName
from .source import TrainingTexts

Context = dict[str, Any]
#: The generated text of a step and a node, or an empty string.
Texts = Callable[[StepName, int], str]


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


def context(
    step: StepName, source: TrainingTexts, sampling: Sampling, node: int, texts: Texts
) -> Context | None:
    r"""What a step's prompt about a node says; ``None`` where nothing is known.

    Of an item that is its title and description, or title, attributes and reviews; of a user a
    sample of the training items that have a text. Prompts of intents have the profile besides.
    """
    if step.startswith("item"):
        found = _item(source, sampling, node)
        if found and step == "item_intent":
            found["item"]["profile"] = texts("item_profile", node)
    else:
        found = _user(source, sampling, node, texts)
        if found and step == "user_intent":
            found["profile"] = texts("user_profile", node)
    return found


def _item(source: TrainingTexts, sampling: Sampling, item: int) -> Context | None:
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


def _user(source: TrainingTexts, sampling: Sampling, user: int, texts: Texts) -> Context | None:
    chosen = sample(source.items_of(user).tolist(), sampling.items, sampling.seed, 0, user)
    history = [
        {
            "title": source.titles[item],
            "profile": texts("item_profile", item) or describe(source, sampling, item),
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
