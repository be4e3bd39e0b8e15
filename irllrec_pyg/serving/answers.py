"""Answers of a model to requests; nothing here knows of HTTP."""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from ..config import ConfigError
from ..ranking import Explanation, Filters
from . import messages as m
from .limits import Limits
from .served import Served, Shelf

WIDE = 20_000  # items up to which lists may be made unlike and of few per group at once


def recommend(served: Served, request: m.RecommendRequest, limits: Limits) -> dict[str, Any]:
    """Lists for users and for people by their histories.

    Raises:
        ConfigError: If a request asks for too much.
        KeyError: If an id is unknown.
        NotImplementedError: If the model cannot rank by histories.
        ValueError: If a rule or a history is wrong.
    """
    people = [*request.users, *request.histories]
    if not people:
        raise ConfigError("Give 'users', 'histories' or both, whom to recommend to.")
    check_count(people, limits.max_batch, "'users' and 'histories'", "max-batch")
    check_length(request.k, limits)
    for history in request.histories:
        check_count(history.items, limits.max_history, "the items of a history", "max-history")
    rules = filters(request.filters, served, limits)
    exclude = None if request.exclude == "none" else request.exclude
    options: dict[str, Any] = {"k": request.k, "exclude": exclude, "filters": rules}
    # Lists that are reordered are made of deep ones, which would take memory for all at once.
    step = 1 if rules is not None and rules.reorders else limits.max_batch
    lists: list[dict[str, Any]] = []
    for at in range(0, len(request.users), step):
        users = request.users[at : at + step]
        table = served.lists.recommend(list(dict.fromkeys(users)), **options)
        found = _by(table, "user", "score", served)
        lists += [{"user": user, "items": found.get(user, [])} for user in users]
    for at in range(0, len(request.histories), step):
        histories = request.histories[at : at + step]
        given: dict[str, Any] = {
            "history": [one.items for one in histories],
            "weights": _weights(histories),
        }
        found = _by(served.lists.recommend(**given, **options), "user", "score", served)
        lists += [
            {"user": one.label, "items": found.get(place, [])}
            for place, one in enumerate(histories)
        ]
    return {"version": served.version, "lists": lists}


def similar(served: Served, request: m.SimilarRequest, limits: Limits) -> dict[str, Any]:
    """What is like items, or like users.

    Raises:
        ConfigError: If a request asks for too much, or not for either of both.
        KeyError: If an id is unknown.
        NotImplementedError: If the model does not tell items apart.
        ValueError: If a rule is wrong.
    """
    if bool(request.items) == bool(request.users):
        raise ConfigError("Give 'items' or 'users', that others are compared with.")
    side = "item" if request.items else "user"
    asked = request.items or request.users
    check_count(asked, limits.max_batch, f"'{side}s'", "max-batch")
    check_length(request.k, limits)
    rules = filters(request.filters, served, limits)
    found: dict[Hashable, list[dict[str, Any]]] = {}
    step = 1 if rules is not None and rules.reorders else limits.max_batch
    distinct = list(dict.fromkeys(asked))
    for at in range(0, len(distinct), step):
        table = served.ranker.similar(
            **{side: distinct[at : at + step]}, k=request.k, filters=rules
        ).rename(columns={"id": "item"})
        found |= _by(table, "of", "similarity", served if side == "item" else None)
    lists = [{"of": one, "similar": found.get(one, [])} for one in asked]
    return {"version": served.version, "lists": lists}


def explain(served: Served, request: m.ExplainRequest, limits: Limits) -> dict[str, Any]:
    """Why an item has its score.

    Raises:
        ConfigError: If a request asks for too much, or not of one person.
        KeyError: If an id is unknown.
        NotImplementedError: If the model has no such explanation.
        ValueError: If a history is wrong.
    """
    if (request.user is None) == (request.history is None):
        raise ConfigError("Give 'user' or 'history', whom the score is for.")
    check_length(request.k, limits)
    options: dict[str, Any] = {"item": request.item, "k": request.k, "by": request.by}
    if request.history is not None:
        own = request.history
        check_count(own.items, limits.max_history, "the items of a history", "max-history")
        found = served.ranker.explain(history=own.items, weights=own.weights, **options)
    else:
        found = served.ranker.explain(request.user, **options)
    parts = {name: _explanation(part) for name, part in found.every_part().items()}
    return {"version": served.version, **_explanation(found), "parts": parts}


def add_items(shelf: Shelf, request: m.AddItemsRequest, limits: Limits) -> dict[str, Any]:
    """Adds items by their texts.

    Raises:
        ConfigError: If there are too many, or there is no encoder of texts.
        NotImplementedError: If the model does not rank items by texts alone.
        ValueError: If an item is there already or has no text; nothing has changed then.
    """
    check_count(request.items, limits.max_batch, "'items'", "max-batch")
    served = shelf.add_items([item.model_dump() for item in request.items])
    return {
        "version": served.version,
        "added": len(request.items),
        "items": served.ranker.num_items,
    }


def change_items(shelf: Shelf, request: m.ChangeItemsRequest, limits: Limits) -> dict[str, Any]:
    """Gives columns of items other values.

    Raises:
        ConfigError: If there are too many, or an item is named twice.
        KeyError: If an item is unknown; nothing has changed then.
        ValueError: If there is no such column, or a value is of another kind; nothing has changed.
    """
    check_count(request.items, limits.max_batch, "'items'", "max-batch")
    served = shelf.change_items([item.model_dump() for item in request.items])
    return {
        "version": served.version,
        "changed": len(request.items),
        "items": served.ranker.num_items,
    }


def filters(rules: m.Rules | None, served: Served, limits: Limits) -> Filters | None:
    """Rules of a request.

    Raises:
        ConfigError: If they would take too much time or memory.
        ValueError: If a rule is wrong.
    """
    if rules is None:
        return None
    for name in ("allow", "deny"):
        check_count(getattr(rules, name) or [], limits.max_history, repr(name), "max-history")
    if rules.diversity > 0 and rules.max_per and served.ranker.num_items > WIDE:
        raise ConfigError(
            f"'diversity' and 'max_per' together are for up to {WIDE} items; leave out one of them."
        )
    return Filters(**dict(rules))


def check_count(given: Sequence[Any], most: int, what: str, setting: str) -> None:
    """Checks how many there are.

    Raises:
        ConfigError: If there are too many.
    """
    if len(given) > most:
        raise ConfigError(
            f"There may be {most} in {what} of a request, got {len(given)}; send several requests, "
            f"or start the server with a greater --{setting}."
        )


def check_length(k: int, limits: Limits) -> None:
    """Checks the length of lists.

    Raises:
        ConfigError: If it is too great.
    """
    if k > limits.max_k:
        raise ConfigError(
            f"'k' must be at most {limits.max_k}, got {k}; start the server with a greater --max-k."
        )


def _weights(histories: Sequence[m.History]) -> list[list[float]] | None:
    if all(one.weights is None for one in histories):
        return None
    return [
        [1.0] * len(one.items) if one.weights is None else list(one.weights) for one in histories
    ]


def _by(
    table: pd.DataFrame, whose: str, value: str, served: Served | None
) -> dict[Hashable, list[dict[str, Any]]]:
    """Rows of a table of lists, by whose list it is; with titles of items where there are some."""
    columns = [table[name].tolist() for name in (whose, "item", "rank", value)]
    titles = None if served is None else served.titles
    lists: dict[Hashable, list[dict[str, Any]]] = {}
    for person, item, rank, score in zip(*columns, strict=True):
        row = {"id": item, "rank": rank, "score": score}
        if titles is not None and isinstance(title := titles.get(item), str):
            row["title"] = title
        lists.setdefault(person, []).append(row)
    return lists


def _explanation(found: Explanation) -> dict[str, Any]:
    columns = [found.table[name].tolist() for name in ("reason", "item", "value", "share")]
    reasons = [
        {"reason": reason, "item": item, "value": _finite(value), "share": _finite(share)}
        for reason, item, value, share in zip(*columns, strict=True)
    ]
    return {
        "score": _finite(found.score),
        "adds_up": found.adds_up,
        "text": found.text,
        "reasons": reasons,
    }


def _finite(value: float) -> float | None:
    """A number that JSON has."""
    return value if math.isfinite(value) else None
