r"""Intents by their names, to say what a user and an item have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..ranking.explain import Explanation, Person, not_a_sum
from ..ranking.fold_in import FoldingRanker


class NamedIntents(torch.nn.Module):
    r"""Intents that have a text each, :math:`\mathbf{z}_t` of
    :class:`~irllrec_pyg.nn.IntentAlignment`'s map, against final embeddings :math:`\mathbf{e}`:

    .. math::
        s_v(t) = \cos(\mathbf{e}_v - \bar{\mathbf{e}}, \mathbf{z}_t - \bar{\mathbf{z}})

    with means over the users, or over the items. IRLLRec's losses draw the embedding of a node to
    its text's; without the means, which all nodes share, what is left tells one from another.

    Args:
        names (sequence of str): Names :math:`t`.
        user (Tensor): :math:`\mathbf{z}_t - \bar{\mathbf{z}}` over the users, shape :math:`(n, d)`.
        item (Tensor): The same over the items.

    Raises:
        ValueError: If they do not fit together.
    """

    user: Tensor
    item: Tensor

    def __init__(self, names: Sequence[str], user: Tensor, item: Tensor) -> None:
        super().__init__()
        self.names = list(names)
        good = all(isinstance(name, str) for name in self.names) and self.names
        if not good or user.dim() != 2 or user.shape != item.shape or len(user) != len(self.names):
            raise ValueError("'intents' must have a name and a vector on both sides each")
        self.register_buffer("user", user, persistent=False)
        self.register_buffer("item", item, persistent=False)

    def strengths(self, nodes: Tensor, everybody: Tensor, side: str) -> Tensor:
        r""":math:`s_v(t)` of nodes, of shape :math:`(B, n)`.

        Args:
            nodes (Tensor): Final embeddings, shape :math:`(B, d_{out})`.
            everybody (Tensor): Those of the whole side, over which means are taken.
            side (str): ``"user"`` or ``"item"``.
        """
        own: Tensor = getattr(self, side)
        width = own.size(1)
        x, mean = narrow(nodes, width), narrow(everybody, width).mean(0)
        return normalize(x - mean, dim=1) @ normalize(own, dim=1).t()

    def explain(
        self,
        user: Tensor,
        item: int,
        embeddings: tuple[Tensor, Tensor],
        k: int,
        score: float,
        what: str,
    ) -> Explanation:
        """The intents that are strongest in a user and an item together."""
        of_user = self.strengths(user.view(1, -1), embeddings[0], "user")[0]
        of_item = self.strengths(embeddings[1][item].view(1, -1), embeddings[1], "item")[0]
        both = of_user + of_item
        order = both.argsort(descending=True, stable=True)[:k].tolist()
        rows: list[tuple[str, Any, float]] = [
            (self.names[at], None, float(both[at])) for at in order
        ]
        said = ", ".join(
            f"{self.names[at]!r} (user {of_user[at]:+.2f}, item {of_item[at]:+.2f})" for at in order
        )
        return not_a_sum(
            rows,
            score,
            f"The score of {what} is {score:.4g}. Beyond the average, both lean to {said}: these "
            "are cosines with the intents' texts and do not add up to the score.",
        )


class IntentRanker(FoldingRanker):
    """Base class of rankers that may explain a score by intents: by those that have names, else by
    prototypes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.named_intents: NamedIntents | None = None

    def prototypes(self) -> Any:
        """Prototypes of users and items, where the model has some."""
        return None

    def explanations(self) -> list[str]:
        """By intents, where there are some."""
        some = self.named_intents is not None or self.prototypes() is not None
        return ["intents", *super().explanations()] if some else super().explanations()

    def explain_by(self, way: str, person: Person, item: int, k: int, score: float) -> Explanation:
        """By intents that have names, else by prototypes."""
        if way != "intents":
            return super().explain_by(way, person, item, k, score)
        ids, embeddings = self.ids("item"), self.embed()
        asked = self.embedding_of(person), item, embeddings, k, score, f"item {ids[item]!r}"
        if self.named_intents is not None:
            return self.named_intents.explain(*asked)
        return by_prototypes(self.prototypes(), *asked, ids)


def narrow(nodes: Tensor, width: int) -> Tensor:
    """Embeddings of layers side by side as their mean, as alignment reads them."""
    return nodes if nodes.size(1) == width else nodes.view(len(nodes), -1, width).mean(1)


@torch.no_grad()
def name_intents(head: Any, num_users: int, texts: Mapping[str, Any]) -> NamedIntents:
    """See :meth:`irllrec_pyg.nn.Recommender.name_intents`."""
    vectors = torch.stack([torch.as_tensor(vector).flatten() for vector in texts.values()])
    width = head.features.size(1)
    if vectors.size(1) != width:
        raise ValueError(
            f"The intents' vectors are {vectors.size(1)} wide; the model was built with intent "
            f"texts {width} wide. Take their encoder."
        )
    z, every = head.mlp(vectors.to(head.features)), head.mlp(head.features)
    means = every[:num_users].mean(0), every[num_users:].mean(0)
    return NamedIntents(list(texts), *(z - mean for mean in means))


@torch.no_grad()
def by_prototypes(
    prototypes: Any,
    user: Tensor,
    item: int,
    embeddings: tuple[Tensor, Tensor],
    k: int,
    score: float,
    what: str,
    ids: Sequence[int | str],
) -> Explanation:
    """The prototypes that have no name and weigh most, on each side, beyond the average."""
    rows: list[tuple[str, Any, float]] = []
    sides = (("user", user, embeddings[0]), ("item", embeddings[1][item], embeddings[1]))
    for side, node, everybody in sides:
        c = getattr(prototypes, side)
        weight = (narrow(everybody, len(c)) @ c).softmax(1).mean(0)
        own = (narrow(node.view(1, -1), len(c)) @ c).softmax(1)[0] - weight
        near = normalize(narrow(embeddings[1], len(c)), dim=1) @ normalize(c, dim=0)
        for at in own.argsort(descending=True, stable=True)[:k].tolist():
            nearest = ids[int(near[:, at].argmax())]
            name = f"intent {at} of {side}s, near item {nearest!r}"
            rows.append((name, None, float(own[at])))
    said = ", ".join(f"{name} {value:+.3g}" for name, _, value in rows)
    return not_a_sum(
        rows,
        score,
        f"The score of {what} is {score:.4g}. Beyond the average weigh {said}: these are weights "
        "of prototypes and do not add up to the score; 'name_intents' gives them names.",
    )
