r"""New users in a graph that was trained without them."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, linear

from ..sparse import history_rows, multiply
from .dot_product import DotProductRanker
from .explain import Contributions, Person
from .topk import DotProducts, Scorer

Combine = Literal["sum", "mean", "concat"]
COMBINE = ("sum", "mean", "concat")
TEXT = ("text", "weight_in", "bias_in", "weight_out", "bias_out")


class FoldIn(torch.nn.Module):
    r"""Embeddings of users by their histories :math:`\mathcal{H}`, in one propagation over a graph
    that stays as it was trained: the layers :math:`\mathbf{e}_i^l` and the degrees :math:`d_i` of
    the items are not moved by the new user,

    .. math::
        \mathbf{e}_u^{l+1} = \sum_{i \in \mathcal{H}} \frac{w_i \, \mathbf{e}_i^l}
        {\sqrt{n \, d_i}}, \qquad n = \sum_{i \in \mathcal{H}} w_i

    with weights :math:`w_i`, one by default. A new user has no embedding that was learned: what
    is propagated starts from :math:`\mathbf{e}_u^0 = 0`, or from the map of the mean of the items'
    texts where the model has one. For a training user this is the embedding less what comes of the
    user's own :math:`\mathbf{e}_u^0`.

    Args:
        layers (Tensor): :math:`\mathbf{e}_i^l / \sqrt{d_i}` for :math:`l = 0, \ldots, L - 1` side
            by side, shape :math:`(I, L d)`; for sums and means their sum, :math:`(I, d)`.
        num_layers (int): Number :math:`L` of propagations.
        combine (str): How a node's embedding is made of its layers.
        self_loops (bool, optional): Whether nodes are neighbours of themselves; degrees, also
            :math:`n`, are then greater by one. (default: ``False``)
        cosine (bool, optional): Whether embeddings have unit length. (default: ``False``)
        text (mapping, optional): Texts of the items and the two layers of their map, by the names
            in ``TEXT``. (default: none)
    """

    layers: Tensor
    text: Tensor | None
    weight_in: Tensor
    bias_in: Tensor
    weight_out: Tensor
    bias_out: Tensor

    def __init__(
        self,
        layers: Tensor,
        num_layers: int,
        combine: Combine,
        self_loops: bool = False,
        cosine: bool = False,
        text: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.num_layers, self.combine = num_layers, combine
        self.self_loops, self.cosine = self_loops, cosine
        self.register_buffer("layers", layers, persistent=False)
        for name in TEXT:
            self.register_buffer(name, None if text is None else text[name], persistent=False)

    @property
    def description(self) -> dict[str, Any]:
        """The settings, as plain values."""
        names = "num_layers", "combine", "self_loops", "cosine"
        return {name: getattr(self, name) for name in names}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return dict(self.named_buffers())

    @classmethod
    def restore(cls, settings: Any, tensors: Mapping[str, Tensor], shape: torch.Size) -> "FoldIn":
        """The one of a file.

        Args:
            settings (mapping): Those of :attr:`description`.
            tensors (mapping): Those of :attr:`tensors`.
            shape (torch.Size): That of the items' embeddings.

        Raises:
            ValueError: If they are none.
        """
        if not isinstance(settings, dict) or set(settings) != {
            *("num_layers", "combine", "self_loops", "cosine")
        }:
            raise ValueError("'fold' must be settings of how new users are folded in")
        depth, combine = settings["num_layers"], settings["combine"]
        if (
            type(depth) is not int
            or not 0 <= depth <= 100
            or combine not in ("sum", "mean", "concat")
        ):
            raise ValueError("'fold' must have a number of layers and say how they are combined")
        if not all(isinstance(settings[name], bool) for name in ("self_loops", "cosine")):
            raise ValueError("'fold' must have settings that are true or false")
        if set(tensors) not in ({"layers"}, {"layers", *TEXT}):
            raise ValueError("'fold' must have the tensors of new users")
        items, width = shape
        if combine == "concat":  # the input is a layer too
            width = width * depth // (depth + 1)
        wanted: dict[str, tuple[int, ...]] = {"layers": (items, width)}
        if "text" in tensors:
            if any(
                tensors[name].dim() != len(size)
                for name, size in (("text", "IT"), ("weight_in", "HT"))
            ):
                raise ValueError("'fold.text' must be a matrix")
            hidden, own = tensors["weight_in"].size(0), tensors["text"].size(1)
            wanted |= {
                "text": (items, own),
                "weight_in": (hidden, own),
                "bias_in": (hidden,),
                "weight_out": (width, hidden),
                "bias_out": (width,),
            }
        for name, size in wanted.items():
            if tuple(tensors[name].shape) != size or not tensors[name].is_floating_point():
                raise ValueError(f"'fold.{name}' must hold numbers of shape {size}")
        if len({tensor.dtype for tensor in tensors.values()}) > 1:
            raise ValueError("the tensors of 'fold' must be of one type of numbers")
        text = {name: tensors[name] for name in TEXT} if "text" in tensors else None
        return cls(tensors["layers"], text=text, **settings)

    def forward(self, history: Tensor) -> Tensor:
        r"""Embeddings of users by histories, sparse CSR of shape :math:`(B, I)`, of shape
        :math:`(B, d_{out})`.
        """
        out = self.spread(multiply(history, self.layers), _totals(history))
        start = self.start(history)
        out = out if start is None else out + start
        return torch.nn.functional.normalize(out, dim=1) if self.cosine else out

    def spread(self, layers: Tensor, total: Tensor) -> Tensor:
        r"""What layers of a user's items make of the user's embedding, linear in the layers.

        Args:
            layers (Tensor): Sums of rows of the items' layers, shape :math:`(B, L d)`.
            total (Tensor): :math:`n` of each user, shape :math:`(B, 1)`.
        """
        scaled = layers / (total + self.self_loops).clamp(min=1e-12).sqrt()
        if self.combine != "concat":
            return scaled / (self.num_layers + 1) if self.combine == "mean" else scaled
        parts = scaled.chunk(self.num_layers, dim=1)
        out = [torch.zeros_like(parts[0])]
        for part in parts:
            out.append(part + out[-1] / (total + 1) if self.self_loops else part)
        return torch.cat(out, dim=1)

    def start(self, history: Tensor) -> Tensor | None:
        r"""What the mean of the items' texts adds, of shape :math:`(B, d)`, if there are texts."""
        if self.text is None:
            return None
        mean = multiply(history, self.text) / _totals(history).clamp(min=1e-12)
        return self.mapped(mean) / (self.num_layers + 1)

    def mapped(self, text: Tensor) -> Tensor:
        """The map of texts."""
        hidden = leaky_relu(linear(text, self.weight_in, self.bias_in), 0.01)
        out: Tensor = linear(hidden, self.weight_out, self.bias_out)
        return out

    def grow(self, texts: Tensor) -> Tensor:
        r"""Adds items without interactions by their texts, and returns their embeddings, of shape
        :math:`(n, d)`.
        """
        assert self.text is not None
        own = texts.to(self.text)
        mapped = self.mapped(own)
        if self.num_layers:  # of a new item, all layers but the first are zero
            self.layers = torch.cat([self.layers, mapped])
        else:
            self.layers = torch.cat([self.layers, torch.zeros_like(mapped)])
        self.text = torch.cat([self.text, own])
        items = mapped / (self.num_layers + 1)
        return torch.nn.functional.normalize(items, dim=1) if self.cosine else items


def _totals(history: Tensor) -> Tensor:
    ones = torch.ones(history.size(1), 1, dtype=history.dtype, device=history.device)
    return multiply(history, ones)


class FoldingRanker(DotProductRanker):
    """Base class of rankers by dot products that may take new users; see :class:`FoldIn`."""

    def fold_in(self) -> FoldIn | None:
        """How new users are folded in, or nothing where that cannot be done."""
        raise NotImplementedError

    @property
    def takes_history(self) -> bool:
        """Whether new users can be folded in."""
        return self.fold_in() is not None

    def score_history(self, history: Tensor) -> Tensor:
        r"""Scores of all items by histories, of users who are folded in; see
        :meth:`Ranker.score_history` and :class:`FoldIn`.
        """
        return self.history_scorer()(history)

    @torch.no_grad()
    def history_scorer(self) -> Scorer:
        """Propagates once and scores any number of histories."""
        with self.ranking():
            fold, items = self.fold_in(), self.embed()[1]
        if fold is None:
            raise NotImplementedError(self.why_no_history())

        @torch.no_grad()
        def score(history: Tensor) -> Tensor:
            rows = history_rows(history, self.num_items, items.device)
            users = fold(rows.to(items.dtype))
            return DotProducts(users, items)(torch.arange(len(users), device=items.device))

        return score

    def history_encoder(self) -> Scorer | None:
        """What folds users in."""
        return self.fold_in()

    def contributions(self, person: Person, item: int) -> Contributions | None:
        """What each item of the history gives to the user's embedding, as a part of the score; for
        a user of the model, what is left comes of the user's own embedding.
        """
        fold, embeddings = self.fold_in(), self.embed()
        if fold is None:
            return None
        weights = person.weights.to(fold.layers.dtype).view(-1, 1)
        total = weights.sum().view(1, 1)
        parts = fold.spread(weights * fold.layers[person.items], total)
        start = fold.start(person.rows(self.num_items))
        whole = parts.sum(0) if start is None else parts.sum(0) + start[0]
        target = embeddings[1][item]
        further = {}
        if start is not None:
            further["texts of the history together"] = float(start[0] @ target)
        scale = 1.0
        if person.user is None:
            if fold.cosine:
                scale = 1 / float(whole.norm().clamp(min=1e-12))
        else:
            user = embeddings[0][person.user]
            if fold.cosine:
                length = self.user_length(person.user)
                if length is None:
                    return None
                scale = 1 / max(length, 1e-12)
            own = user - scale * whole
            if float(own.norm()) > 1e-5 * float(user.norm()):
                further["what is the user's own"] = float(own @ target) / scale
        further = {name: scale * value for name, value in further.items()}
        return Contributions(scale * (parts @ target), further)

    def embedding_of(self, person: Person) -> Tensor:
        """A person's embedding, of shape :math:`(d,)`."""
        if person.user is not None:
            return self.embed()[0][person.user]
        fold = self.fold_in()
        if fold is None:
            raise NotImplementedError(self.why_no_history())
        out: Tensor = fold(person.rows(self.num_items))[0]
        return out

    def user_length(self, user: int) -> float | None:
        """Length of a user's embedding before it was scaled to one; ``None`` where it is not known,
        as of a model from a file.
        """
        return None

    def why_no_history(self) -> str:
        """Why new users cannot be folded in."""
        return (
            f"{type(self).__name__} cannot rank for people by a history: its users have "
            "embeddings of their own alone. LightGCN and its family, GCCF, AlphaRec and the "
            "closed-form models can."
        )
