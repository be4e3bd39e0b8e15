"""Whatever scores items for users: models, trained embeddings, closed-form models."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, check_data, known_pairs
from .filters import Filters, check_filters, filtered_topk
from .positions import Exclude, PositionRanker, check_length
from .topk import Scorer

if TYPE_CHECKING:
    from .explain import Contributions, Explanation, Person

#: Similarities of items with others, or with all: of shapes (n,), (m,) and (n, m).
Similarity = Callable[[Tensor, Tensor | None], Tensor]


def ranker_arguments(data: HeteroData) -> dict[str, Any]:
    """What :class:`Ranker` is built with, taken from a data set's graph.

    Raises:
        TypeError, ValueError: If it is no such graph; see
            :func:`irllrec_pyg.edges.check_data`.
    """
    check_data(data)
    return {
        "edge_index": data[EDGE_TYPE].edge_index,
        "num_users": data["user"].num_nodes,
        "num_items": data["item"].num_nodes,
        "user_ids": data["user"].get("raw_id"),
        "item_ids": data["item"].get("raw_id"),
        "known": known_pairs(data),
    }


class Ranker(PositionRanker):
    r"""Base class of everything that ranks items for users.

    A subclass implements :meth:`score`, and :meth:`scorer` where many blocks of users can share
    work.

    Args:
        edge_index (Tensor): Training interactions, user ids over item ids, int64 of shape
            :math:`(2, E)`.
        num_users (int): Number of users.
        num_items (int): Number of items.
        user_ids (sequence, optional): The owner's id of each user. (default: ``0 .. U-1``)
        item_ids (sequence, optional): The owner's id of each item. (default: ``0 .. I-1``)
        known (Tensor, optional): All interactions that the data set knows of, those for validation
            and test included, int64 of shape :math:`(2, M)`; :meth:`recommend` leaves them out.
            (default: the training interactions)

    Attributes:
        item_table (DataFrame, optional): A table of the items, indexed by the owner's ids, that
            conditions of :class:`Filters` and explanations by words read. One with the ids in a
            column ``item``, such as ``TableDataset.items`` or a CSV file, is indexed by them when
            it is set, and its columns of text become numbers or truths where all values are such.
            :func:`~irllrec_pyg.save_folder` keeps it.
        text_encoder (optional): What :meth:`add_items` takes by default. It is not saved.
    """

    def score_history(self, history: Tensor) -> Tensor:
        r"""Scores of all items for users whom the ranker need not know, by their interactions.

        Args:
            history (Tensor): One at the items of each user, else zero; dense or sparse, of shape
                :math:`(B, I)`.

        Returns:
            Tensor of shape :math:`(B, I)`; nothing is masked.

        Raises:
            NotImplementedError: If the ranker knows users by embeddings of their own alone.
            ValueError: If the history has another shape.
        """
        raise NotImplementedError(
            f"{type(self).__name__} scores the users that it was built with alone; closed-form "
            "models such as 'ease' and 'bilinear-text' score histories of others."
        )

    @property
    def takes_history(self) -> bool:
        """Whether :meth:`score_history` works, so that people are ranked for by their histories."""
        return type(self).score_history is not Ranker.score_history

    def history_scorer(self) -> Scorer:
        """A function like :meth:`score_history` for many calls between which nothing changes."""
        return self.score_history

    def item_similarity(self) -> Similarity:
        """A function of positions of items, and of others or ``None`` for all, that gives their
        similarities; see :meth:`similar`.

        Raises:
            NotImplementedError: If the model does not tell items apart.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no similarities of items; models with embeddings or "
            "weights between items have some, such as 'ease' and 'text-mean'."
        )

    @property
    def text_width(self) -> int | None:
        """Width of the texts' vectors by which :meth:`add_items` ranks new items; ``None`` where
        the model does not rank by texts alone.
        """
        return None

    @property
    def grows(self) -> bool:
        """Whether :meth:`grow` works without texts."""
        return False

    def text_scorer(self, person: "Person") -> Scorer | None:
        """A function of texts' vectors, shape :math:`(n, T)`, that gives the scores which items of
        such texts have for a person, shape :math:`(n,)`; ``None`` where there is none.
        """
        return None

    def explanations(self) -> list[str]:
        """The ways in which scores are explained, the first by default; see :meth:`explain`."""
        words = self.text_encoder is not None and self.item_table is not None
        return ["history", "words"] if words and self.text_width is not None else ["history"]

    def contributions(self, person: "Person", item: int) -> "Contributions | None":
        """The parts of a score that the items of a history have; ``None`` where it is no sum."""
        return None

    def explain_by(
        self, way: str, person: "Person", item: int, k: int, score: float
    ) -> "Explanation":
        """An explanation by one of :meth:`explanations`."""
        from .explain import by_history
        from .words import explain_words

        explained = by_history if way == "history" else explain_words
        return explained(self, person, item, k, score)

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Makes room for new items after all others; see :meth:`add_items`, which checks them.

        A subclass adds what belongs to the items first.

        Args:
            ids (sequence): The new items' ids.
            texts (Tensor, optional): Their texts' vectors, of shape :math:`(n, T)`. Without them
                the model treats the items as others that nobody has touched.
        """
        self.item_ids = [*self.ids("item"), *ids]
        self.num_items = len(self.item_ids)
        self._owners = {}

    def recommend(
        self,
        user: Hashable | Iterable[Hashable] | None = None,
        k: int = 20,
        exclude: Exclude = "known",
        candidates: Iterable[Hashable] | None = None,
        *,
        history: Any = None,
        weights: Any = None,
        filters: Filters | None = None,
    ) -> pd.DataFrame:
        """The best items for some users, or for people whom the ranker was not built with.

        Args:
            user (id or iterable of ids, optional): In the owner's ids.
                (default: every user, or those of ``history``)
            k (int, optional): Number of items. (default: ``20``)
            exclude (str or Tensor, optional): What is left out, as in :meth:`topk`; by default
                everything that the data set knows of the user, or the items of the history.
                (default: ``"known"``)
            candidates (iterable of ids, optional): The items to choose from, in the owner's ids.
                (default: all items)
            history (sequence, sequence of sequences or DataFrame, optional): Items of a person
                whom the ranker does not know; of several, who are called 0, 1, ...; or a table
                with the columns ``user``, ``item`` and perhaps ``weight``. (default: none)
            weights (sequence or sequence of sequences, optional): A positive number for each item
                of the history, shaped like it. (default: all count the same)
            filters (Filters, optional): Further rules for what is listed. (default: none)

        Returns:
            Table with the columns ``user``, ``item`` (the owner's ids), ``rank`` (from 1) and
            ``score``, in the order in which the users were given. A user who has fewer than ``k``
            items left gets fewer rows. Equal scores are listed by ascending position of the item.

        Raises:
            KeyError: If a user, a candidate or an item of a history is unknown.
            NotImplementedError: If the model cannot rank by a history.
            TypeError: If what is given for an id cannot be one, such as a mask's ``True``.
            ValueError: If ``k`` is not positive, ``exclude`` is unknown, a history is empty, a
                rule is wrong, or scores are NaN.
        """
        if history is not None or weights is not None:
            return self.of(history, weights, user).recommend(
                None, k, exclude, candidates, filters=filters
            )
        position = self.positions(user, "user")
        items = None if candidates is None else self.positions(candidates, "item")
        filters = check_filters(filters)
        check_length(k)
        k = min(k, self.num_items)  # there is no more to list, and room for it would be taken
        items = filters.candidates(self, items)
        listed, score = filtered_topk(self, position, k, exclude, items, filters)
        row, column = (listed >= 0).nonzero(as_tuple=True)
        columns = {
            "user": position[row],
            "item": listed[row, column],
            "rank": column + 1,
            "score": score[row, column].float(),
        }
        table = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
        for side in ("user", "item"):
            table[side] = self.owners(side).take(table[side].to_numpy())
        return table

    def of(self, history: Any, weights: Any = None, user: Any = None) -> "Ranker":
        """The ranker of people who are given by histories alone; see :meth:`recommend`."""
        from .histories import HistoryRanker, read_histories

        if user is not None:
            raise ValueError("Give 'user' or 'history', not both.")
        if history is None:
            raise ValueError("'weights' belong to a 'history', which is missing.")
        if not self.takes_history:
            self.score_history(torch.empty(0, self.num_items))  # says why
        return HistoryRanker(self, read_histories(self, history, weights))

    def similar(
        self,
        item: Hashable | Iterable[Hashable] | None = None,
        user: Hashable | Iterable[Hashable] | None = None,
        k: int = 20,
        filters: Filters | None = None,
    ) -> pd.DataFrame:
        r"""What is most similar to an item, or to a user.

        Items are compared as the model sees them: by the cosine of their embeddings or factors
        (text models: of their texts); where there are item-to-item weights :math:`B`, of the rows
        of :math:`I + B`; for neighbourhoods by the neighbourhoods' own similarity; for filters on
        the graph by the cosine of the items' users, each weighted by
        :math:`1 / \sqrt{d_u}`; for a blend by the weighted mean of the parts'. Users are compared
        by the cosine of their embeddings, else of their training items.

        Args:
            item (id or iterable of ids, optional): In the owner's ids.
            user (id or iterable of ids, optional): In its place; in the owner's ids.
            k (int, optional): Number of items or users. (default: ``20``)
            filters (Filters, optional): Rules for the items that are listed. (default: none)

        Returns:
            Table with the columns ``id``, ``rank`` (from 1) and ``similarity``; where a list of ids
            was given, with a first column ``of``. What was asked for is not listed.

        Raises:
            KeyError: If an id is unknown.
            NotImplementedError: If the model does not tell items apart, as popularity.
            ValueError: If not exactly one of ``item`` and ``user`` is given, or a rule is wrong.
        """
        from .similar import similar

        return similar(self, item, user, k, filters)

    def explain(
        self,
        user: Hashable | None = None,
        item: Hashable | None = None,
        k: int = 5,
        *,
        history: Any = None,
        weights: Any = None,
        by: str | None = None,
    ) -> "Explanation":
        """Why an item has its score for a user, or for a person who is given by a history.

        - Where the score is a sum over the items of the history (closed-form models, LightGCN and
          its family), the items with their part of the score; the parts add up.
        - Other dot products: the items of the history that are nearest to the item.
        - Models with intents: those that weigh most on both sides, compared with the average.
        - Blends: the part of each model, and within it as above.
        - Models of texts, where ``item_table`` and ``text_encoder`` are set: also the words of the
          item without which its score would be another.

        Args:
            user (id, optional): In the owner's ids.
            item (id): In the owner's ids.
            k (int, optional): Number of reasons. (default: ``5``)
            history (sequence, optional): In the place of ``user``, the items of a person.
            weights (sequence, optional): A positive number for each item of the history.
            by (str, optional): ``"history"``, ``"intents"``, ``"parts"`` or ``"words"``; of a
                blend, by what each of its parts is explained that can be so.
                (default: what the model has first of intents, parts and history)

        Raises:
            KeyError: If an id is unknown.
            NotImplementedError: If the model has no such explanation.
            ValueError: If an argument is missing or wrong.
        """
        from .explain import explain

        return explain(self, user, item, k, history, weights, by)

    def add_items(self, table: pd.DataFrame, encoder: Any = None) -> None:
        """Adds items that nobody has touched, which are ranked by their texts from now on.

        Nothing is trained again. What the texts say of an item is what the model learned of the
        texts of others; a part of a blend that reads no texts scores new items like others that
        nobody has touched.

        Args:
            table (DataFrame): A row for each new item: its id in ``item`` and its texts in further
                columns, those that the encoder's data set reads, else ``text`` or ``title``, else
                all; or the encoder's vectors, in a column ``x``.
            encoder (TableDataset, encoder or callable, optional): What turns texts into the vectors
                that the model was built with: the data set itself, which knows columns, encoder
                and components, an encoder of :mod:`irllrec_pyg.text`, whose vectors are scaled to
                length 1, or a function from a list of texts to an array.
                (default: :attr:`text_encoder`)

        Raises:
            NotImplementedError: If the model does not rank items by texts alone.
            ValueError: If an id is there already, or twice, or an item has no text. Then nothing
                was changed.
        """
        from .new_items import add_items

        add_items(self, table, encoder)
