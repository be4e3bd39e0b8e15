"""What the parts of a blend give to a score, and what trees do with the order of a list."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .explain import TOLERANCE, Explanation, Person, added_up, explain_all, of_part

if TYPE_CHECKING:
    from .blend import Blend
    from .rerank import Rerank


def ways_of_parts(blend: "Blend") -> list[str]:
    """By the parts, each explained by the way that it has first; or each by one of all ways."""
    _share_texts(blend)
    ways = [way for part in blend.rankers() for way in part.explanations()]
    return list(dict.fromkeys(["parts", *ways]))


def explain_parts(
    blend: "Blend", way: str, person: Person, item: int, k: int, score: float
) -> Explanation:
    """What each part adds to the score; the parts are explained on their own scales.

    Args:
        blend (Blend): The blend.
        way (str): ``"parts"``, or by what each part is explained that can be so.
        person (Person): Whom the score is for.
        item (int): The item's position.
        k (int): Number of reasons of each part.
        score (float): The blend's score.

    Raises:
        ValueError, NotImplementedError: If no part can be explained by ``way``.
    """
    from .blend import standardized

    _share_texts(blend)
    row, new = torch.zeros_like(person.items), blend.new_items()
    rows, parts = [], {}
    refused: Exception | None = None
    for name, part, share, own in zip(
        _names(blend), blend.rankers(), blend.shares, scores_of_parts(blend, person), strict=True
    ):
        value = share * float(standardized(own, row, person.items, new)[0, item])
        rows.append((name, None, value))
        if way != "parts" and way not in part.explanations():
            continue
        by = None if way == "parts" else way
        try:
            found = explain_all(part, person, item, k, float(own[0, item]), by)
        except (ValueError, NotImplementedError) as error:  # such as an item without a text
            if by is None:
                raise
            refused = error
        else:
            parts[name] = of_part(name, found)
    if refused is not None and not parts:
        raise refused
    rows.sort(key=lambda row: -abs(row[2]))
    return added_up(rows, score, f"item {blend.ids('item')[item]!r}", parts)


def explain_rerank(
    model: "Rerank", way: str, person: Person, item: int, k: int, score: float
) -> Explanation:
    """The parts of the blend's score, and what the trees did with the item's place.

    Args:
        model (Rerank): A model with trees; others as of :func:`explain_parts`.
        way, person, item, k, score: As of :func:`explain_parts`; the score is that by which items
            are listed.
    """
    place, plain, moved = model.places(scores_of_parts(model, person), person)
    found = explain_parts(model, way, person, item, k, float(plain[item]))
    at = (place == item).nonzero()
    if at.numel():
        before = int(at) + 1
        after = int((moved[place].argsort(descending=True, stable=True) == at.view(())).nonzero())
        did = (
            f"leave this one at place {before}"
            if before == after + 1
            else f"take this one from place {before} to place {after + 1}"
        )
        said = (
            "These are parts of the blend's score and not of the item's place: the order of the "
            f"first {len(place)} items is that of trees, which {did}. What trees give is no sum "
            "of reasons."
        )
    else:
        said = (
            f"The order of the first {len(place)} items is that of trees; this item is not among "
            "them, so that they do not move it."
        )
    residual = score - float(found.table["value"].sum())
    return replace(
        found,
        score=score,
        adds_up=found.adds_up and abs(residual) <= TOLERANCE * max(abs(score), 1e-6),
        residual=residual,
        text=f"In the blend, {found.text[:1].lower()}{found.text[1:]} {said}",
    )


def scores_of_parts(blend: "Blend", person: Person) -> list[Tensor]:
    r"""The parts' scores of all items for one person, each of shape :math:`(1, I)`."""
    if person.user is None:
        return [part.score_history(person.rows(blend.num_items)) for part in blend.rankers()]
    user = person.items.new_tensor([person.user])
    return [part.score(user) for part in blend.rankers()]


def _names(blend: "Blend") -> list[str]:
    names: list[str] = []
    for part in blend.rankers():
        name = type(part).__name__
        while name in names:
            name += "'"
        names.append(name)
    return names


def _share_texts(blend: "Blend") -> None:
    """Gives the parts what explains by words, where the blend has some."""
    for part in blend.rankers():
        for name in ("item_table", "text_encoder"):
            if (own := getattr(blend, name)) is not None:
                setattr(part, name, own)
