"""Why an item has its score."""

import contextlib
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .ranker import Ranker

TOLERANCE = 1e-3  # of what is summed: scores are computed in float32
OTHERS = "other items of the history"


@dataclass(frozen=True)
class Explanation:
    """Why an item has its score.

    Printed, it is a sentence or two.

    Args:
        table (DataFrame): Reasons, the weightiest first: ``reason``; ``item``, the owner's id of
            an item of the history, else ``None``; ``value``; and ``share``, the value's share of
            the sum of all absolute values.
        score (float): The item's score.
        adds_up (bool): Whether the values add up to the score.
        residual (float): The score less the sum of the values.
        text (str): In words.
        parts (dict, optional): Explanations by other means, by name. (default: none)
    """

    table: pd.DataFrame
    score: float
    adds_up: bool
    residual: float
    text: str
    parts: "dict[str, Explanation]" = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text

    def every_part(self) -> "dict[str, Explanation]":
        """The parts and theirs, by names such as ``"TextMean/words"``; without those of a blend's
        parts whose value is zero, which have no share in the score.
        """
        values = dict(zip(self.table["reason"], self.table["value"], strict=True))
        found: dict[str, Explanation] = {}
        for name, part in self.parts.items():
            if values.get(name) != 0:
                found[name] = part
                found |= {f"{name}/{inner}": one for inner, one in part.every_part().items()}
        return found


@dataclass
class Person:
    r"""Whom an explanation is for.

    Args:
        label (id): What messages call the person.
        user (int, optional): Position, of a user of the ranker.
        items (Tensor): Positions of the items of the history, int64 of shape :math:`(n,)`.
        weights (Tensor): Their weights, float32 of shape :math:`(n,)`.
    """

    label: Any
    user: int | None
    items: Tensor
    weights: Tensor

    def rows(self, num_items: int, apart: bool = False) -> Tensor:
        r"""The history as a row of weights, or each of its items as a row of its own; sparse CSR of
        shape :math:`(1, I)` or :math:`(n, I)`.
        """
        count = self.items.numel()
        ends = [0, count] if not apart else list(range(count + 1))
        return torch.sparse_csr_tensor(
            torch.tensor(ends, device=self.items.device),
            self.items,
            self.weights,
            size=(len(ends) - 1, num_items),
            check_invariants=False,
        )


@dataclass
class Contributions:
    r"""What a score is made of.

    Args:
        items (Tensor): Part of each item of the history, shape :math:`(n,)`.
        further (dict, optional): Other parts by name. (default: none)
    """

    items: Tensor
    further: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def explain(
    ranker: "Ranker",
    user: Hashable | None,
    item: Hashable | None,
    k: int,
    history: Any,
    weights: Any,
    by: str | None,
) -> Explanation:
    """See :meth:`Ranker.explain`."""
    from .positions import check_length

    if item is None:
        raise ValueError("'item' is missing: the item whose score is explained.")
    if (user is None) == (history is None):
        raise ValueError("Give 'user' or 'history', whom the score is for.")
    if weights is not None and history is None:
        raise ValueError("'weights' belong to a 'history', which is missing.")
    check_length(k)
    position = int(_one(ranker, item, "item"))
    person = _person(ranker, user, history, weights)
    with ranker.ranking():
        score = score_of(ranker, person, position)
        return explain_all(ranker, person, position, k, score, by)


def explain_all(
    ranker: "Ranker", person: Person, item: int, k: int, score: float, by: str | None = None
) -> Explanation:
    """An explanation by the first way, or by a given one; the first holds the others as parts.

    Raises:
        NotImplementedError: If there is no such way.
    """
    ways = ranker.explanations()
    if by is not None and by not in ways:
        raise NotImplementedError(
            f"{type(ranker).__name__} is explained by {', '.join(ways)}, got 'by' {by!r}."
        )
    found = ranker.explain_by(by or ways[0], person, item, k, score)
    if by is None and ways[0] != "parts":  # the parts of a blend hold theirs
        for way in ways[1:]:
            with contextlib.suppress(ValueError, NotImplementedError):  # no text, or no such map
                found.parts[way] = ranker.explain_by(way, person, item, k, score)
    return found


def _one(ranker: "Ranker", asked: Hashable, side: str) -> Tensor:
    position = ranker.positions([asked], side)
    return position[0]


def _person(ranker: "Ranker", user: Any, history: Any, weights: Any) -> Person:
    if user is not None:
        position = _one(ranker, user, "user")
        items = ranker.seen(position.view(1))[1]
        return Person(user, int(position), items, torch.ones(len(items), device=items.device))
    from .histories import read_histories

    read = read_histories(ranker, history, weights)
    if len(read.labels) > 1:
        raise ValueError(f"'history' must be of one person, got {len(read.labels)}.")
    return Person(read.labels[0], None, read.pairs.col, read.weight)


def score_of(ranker: "Ranker", person: Person, item: int) -> float:
    """The score that is explained."""
    if person.user is not None:
        return float(ranker.score(person.items.new_tensor([person.user]))[0, item])
    return float(ranker.score_history(person.rows(ranker.num_items))[0, item])


def by_history(ranker: "Ranker", person: Person, item: int, k: int, score: float) -> Explanation:
    """The items of the history that carry a score, or that are nearest to the item."""
    found = ranker.contributions(person, item)
    if found is None:
        return _nearest(ranker, person, item, k, score)
    ids = ranker.ids("item")
    order = found.items.abs().argsort(descending=True, stable=True)
    order = order[found.items[order] != 0]
    rows: list[tuple[str, Any, float]] = [
        ("item of the history", ids[int(person.items[at])], float(found.items[at]))
        for at in order[:k].tolist()
    ]
    if len(order) > k:
        rows.append((OTHERS, None, float(found.items[order[k:]].sum())))
    rows += [(name, None, value) for name, value in found.further.items()]
    return added_up(rows, score, f"item {ids[item]!r}")


def added_up(
    rows: list[tuple[str, Any, float]],
    score: float,
    what: str,
    parts: dict[str, Explanation] | None = None,
) -> Explanation:
    """An explanation of values that should add up to a score; says whether they do."""
    table = table_of(rows)
    residual = score - float(table["value"].sum())
    size = max(abs(score), float(table["value"].abs().sum()))
    adds_up = abs(residual) <= TOLERANCE * max(size, 1e-6)
    said = ", ".join(
        f"{reason if item is None else repr(item)} {value + 0.0:+.4g}"
        for reason, item, value in rows
    )
    sentence = (
        "These add up to the score."
        if adds_up
        else f"These do not add up to the score; {residual:+.4g} is left."
    )
    text = f"The score of {what} is {score:.4g}: {said or 'nothing counts'}. {sentence}"
    return Explanation(table, score, adds_up, residual, text, parts or {})


def of_part(name: str, found: Explanation) -> Explanation:
    """What explains a part of a blend says that its score is the part's own."""
    text = f"For {name} alone, on its own scale: {found.text[:1].lower()}{found.text[1:]}"
    parts = {way: of_part(name, inner) for way, inner in found.parts.items()}
    return replace(found, text=text, parts=parts)


def table_of(rows: list[tuple[str, Any, float]]) -> pd.DataFrame:
    """Reasons, items and values as a table with shares."""
    table = pd.DataFrame(rows, columns=["reason", "item", "value"])
    table["item"] = pd.Series([item for _, item, _ in rows], dtype=object)
    table["value"] = table["value"].astype(float) + 0.0  # no negative zero
    total = float(table["value"].abs().sum())
    table["share"] = table["value"] / total if total else 0.0
    return table


def not_a_sum(rows: list[tuple[str, Any, float]], score: float, text: str) -> Explanation:
    """An explanation of values that are no parts of the score."""
    table = table_of(rows)
    residual = score - float(table["value"].sum())
    return Explanation(table, score, False, residual, text)


def _nearest(ranker: "Ranker", person: Person, item: int, k: int, score: float) -> Explanation:
    similar = ranker.item_similarity()(person.items.new_tensor([item]), person.items)[0]
    order = similar.argsort(descending=True, stable=True)[:k].tolist()
    ids = ranker.ids("item")
    rows = [
        ("similar item of the history", ids[int(person.items[at])], float(similar[at]))
        for at in order
    ]
    said = ", ".join(f"{own!r} {value:.3f}" for _, own, value in rows)
    return not_a_sum(
        rows,
        score,
        f"The score of item {ids[item]!r} is {score:.4g}. Nearest in the history are {said}: "
        "these are similarities and do not add up to the score.",
    )
