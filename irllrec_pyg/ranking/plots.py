"""Pictures of what a model knows: its intents, and one user."""

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .ranker import Ranker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 2000  # items that are drawn


def plot_intents(model: Any, path: str | Path | None = None, names: int = 12) -> "Figure":
    r"""A map of intents: items as points, intents as crosses, with the names of intents that have
    some (:meth:`~irllrec_pyg.nn.Recommender.name_intents`), else the prototypes of the items.

    The two axes are the first principal components of the intents, after each side was brought to
    length 1 and its mean taken away; a point is where its item leans to.

    Args:
        model (Recommender): A model with intents.
        path (str or Path, optional): Where to save the picture. (default: nowhere)
        names (int, optional): Items at most that are labelled, the one that is nearest to each
            intent. (default: ``12``)

    Returns:
        The figure.

    Raises:
        ImportError: Without ``pip install 'irllrec_pyg[plot]'``.
        ValueError: If the model has no intents.
    """
    figure, axes = _figure()
    with torch.no_grad(), model.ranking():
        found = model.intent_vectors()
        if found is None:
            raise ValueError(f"{type(model).__name__} has no intents to draw.")
        labels, intents, items = found
        intents, items = _centred(intents), _centred(items)
        axes_of = torch.linalg.svd(intents, full_matrices=False).Vh[:2]
        if len(axes_of) < 2:
            raise ValueError("A map needs two intents.")
        at, points = (part @ axes_of.t() for part in (intents, items))
        nearest = (intents @ items.t()).argmax(1).tolist()
    step = max(1, len(points) // MOST)
    shown = points[::step].numpy()
    axes.scatter(shown[:, 0], shown[:, 1], s=8, color="0.7", label="items", linewidths=0)
    axes.scatter(at[:, 0], at[:, 1], marker="x", color="#0072b2", label="intents")
    ids = model.ids("item")
    for number, (label, place) in enumerate(zip(labels, at.tolist(), strict=True)):
        if len(labels) <= 40:
            axes.annotate(label, place, fontsize=8, xytext=(3, 3), textcoords="offset points")
        elif number < names:
            near = str(ids[nearest[number]])
            axes.annotate(near, points[nearest[number]].tolist(), fontsize=6, color="0.3")
    axes.set(xlabel="first component of the intents", ylabel="second component")
    axes.legend(frameon=False)
    return _saved(figure, path)


def plot_profile(
    ranker: Ranker, user: Hashable, path: str | Path | None = None, k: int = 10
) -> "Figure":
    """A user's profile: the intents that the user leans to where these have names, else the items
    that are recommended first, each with the item of the history that speaks most for it.

    Args:
        ranker (Ranker): The model.
        user (id): In the owner's ids.
        path (str or Path, optional): Where to save the picture. (default: nowhere)
        k (int, optional): Number of bars. (default: ``10``)

    Returns:
        The figure.

    Raises:
        ImportError: Without ``pip install 'irllrec_pyg[plot]'``.
        KeyError: If the user is unknown.
    """
    figure, axes = _figure()
    named = getattr(ranker, "named_intents", None)
    if named is not None:
        with torch.no_grad(), ranker.ranking():
            embeddings = ranker.embed()
            assert embeddings is not None
            own = embeddings[0][ranker.positions([user], "user")]
            strength = named.strengths(own, embeddings[0], "user")[0].cpu().numpy()
        order = np.argsort(-strength, kind="stable")[:k]
        labels, values = [named.names[at] for at in order], strength[order]
        axes.set(xlabel="cosine with the intent, beyond the average user")
    else:
        table = ranker.recommend([user], k=k)
        labels, values = [], table["score"].to_numpy()
        for item in table["item"].tolist():
            reasons = ranker.explain(user, item, k=1, by=_plain(ranker)).table
            because = reasons["item"].iloc[0] if len(reasons) else None
            labels.append(f"{item}" if because is None else f"{item}, because of {because}")
        axes.set(xlabel="score")
    places = np.arange(len(labels))[::-1]
    axes.barh(places, values, color="#0072b2")
    axes.set_yticks(places, labels)
    axes.set_title(f"user {user}")
    return _saved(figure, path)


def _plain(ranker: Ranker) -> str:
    ways = ranker.explanations()
    return "history" if "history" in ways else ways[0]


def _centred(vectors: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(vectors.detach().float().cpu(), dim=1)
    return unit - unit.mean(0)


def _figure() -> "tuple[Figure, Any]":
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("Pictures need: pip install 'irllrec_pyg[plot]'.") from None
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _saved(figure: "Figure", path: str | Path | None) -> "Figure":
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
