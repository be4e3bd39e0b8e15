"""The words of an item that carry its score."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .explain import TOLERANCE, Explanation, Person, not_a_sum
from .new_items import encoded, text_columns

if TYPE_CHECKING:
    from .ranker import Ranker


def explain_words(ranker: "Ranker", person: Person, item: int, k: int, score: float) -> Explanation:
    """Leaves out each word, and each field, of an item's text in turn.

    Raises:
        ValueError: If the item has no text in ``item_table``.
    """
    score_vectors = ranker.text_scorer(person)
    assert ranker.item_table is not None
    if score_vectors is None:
        raise NotImplementedError(f"{type(ranker).__name__} does not score texts alone.")
    name = ranker.ids("item")[item]
    if name not in ranker.item_table.index:
        raise ValueError(f"'item_table' has no row of item {name!r}.")
    row = ranker.item_table.loc[[name]].iloc[0]
    columns = getattr(ranker.text_encoder, "text_fields", None)
    columns = text_columns(ranker.item_table) if columns is None else columns
    texts = {column: str(row[column]) for column in columns if isinstance(row[column], str)}
    if not any(text.strip() for text in texts.values()):
        raise ValueError(f"Item {name!r} has no text in 'item_table'.")
    device = ranker.seen_ptr.device
    return by_words(
        ranker,
        lambda given: score_vectors(encoded(ranker.text_encoder, given).to(device)),
        item,
        texts,
        k,
        score,
    )


def by_words(
    ranker: "Ranker",
    score_text: Callable[[list[str]], Tensor],
    item: int,
    texts: dict[str, str],
    k: int,
    score: float,
) -> Explanation:
    """The words, and the fields where there are several, without which the score would be another.

    Args:
        ranker (Ranker): What ranks.
        score_text (callable): Scores of texts in the place of the item's own.
        item (int): The item.
        texts (dict): Its text by field.
        k (int): Number of words.
        score (float): The item's score.
    """
    fields = {name: text.split() for name, text in texts.items() if text.split()}
    variants: list[tuple[str, str]] = []
    if len(fields) > 1:
        for name in fields:
            rest = {other: words for other, words in fields.items() if other != name}
            variants.append((f"field {name!r}", _text(rest)))
    for name, words in fields.items():
        for word in dict.fromkeys(words):
            rest = {**fields, name: [other for other in words if other != word]}
            variants.append((f"word {word!r}", _text(rest)))
    whole = float(score_text([_text(fields)])[0])
    without = score_text([text or " " for _, text in variants]) if variants else torch.empty(0)
    rows: list[tuple[str, Any, float]] = [
        (reason, None, whole - float(value))
        for (reason, _), value in zip(variants, without, strict=True)
    ]
    rows.sort(key=lambda row: -abs(row[2]))
    rows = rows[:k]
    said = ", ".join(f"{reason} {value:+.4g}" for reason, _, value in rows)
    other = (
        ""
        if abs(whole - score) <= TOLERANCE * max(abs(score), 1e-6)
        else (f" By its text alone the item would score {whole:.4g}.")
    )
    return not_a_sum(
        rows,
        score,
        f"The score of item {ranker.ids('item')[item]!r} is {score:.4g}; it would change most "
        f"without {said or 'nothing'}. Each was left out alone: these do not add up to the "
        f"score.{other}",
    )


def _text(fields: dict[str, list[str]]) -> str:
    return ". ".join(" ".join(words) for words in fields.values() if words)
