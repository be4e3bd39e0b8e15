"""What closed-form models share: they are computed from the training interactions, not trained."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import Settings
from ..edges import EDGE_TYPE
from ..ranking.dot_product import DotProductRanker
from ..ranking.explain import Contributions, Person
from ..ranking.ranker import Ranker, ranker_arguments
from ..ranking.topk import Scorer
from ..registry import Configured
from ..sparse import history_rows, multiply


class LinearModel(Ranker, Configured):
    r"""Base class of closed-form models; with :math:`\mathbf{R} \in \{0, 1\}^{U \times I}` the
    training interactions.

    A subclass implements :meth:`fit`, which registers the tensors that :attr:`layout` names, and
    :meth:`predict`; :meth:`prepare` where something follows from these tensors. It is then saved
    by :func:`irllrec_pyg.checkpoint.save_ranker` and restored without data or texts.

    Args:
        data (HeteroData): Data set.
        config (Config or mapping, optional): Settings. (default: the defaults)
        **settings: Settings by name, which take the place of these.

    Raises:
        ConfigError: If a setting is unknown or wrong.
        TypeError, ValueError: If ``data`` is no graph of a data set.
    """

    kind = "linear"
    config: Any
    #: Whether a model holds all those with a smaller value of its setting; see :meth:`truncated`.
    is_nested: ClassVar[bool] = False
    #: The tensors that are the model, and their axes: ``U`` users, ``I`` items, or a word: a
    #: setting that is the size, or the same size wherever the word stands.
    layout: ClassVar[Mapping[str, str]] = {}

    def __init__(self, data: HeteroData, config: Settings = None, **settings: Any) -> None:
        super().__init__(**ranker_arguments(data))
        self.config = self.Config.read(config, **settings)
        self.fit(data)
        self.prepare()
        self.to(data[EDGE_TYPE].edge_index.device)

    def fit(self, data: HeteroData) -> None:
        """Computes the model from a data set."""

    def prepare(self) -> None:
        """Computes what follows from the model's tensors, also of a restored model."""

    def keep(self, **parts: Tensor) -> None:
        """Keeps tensors where the interactions are, in single precision."""
        for name, part in parts.items():
            self.register_buffer(name, part.to(self.seen_ptr.device, torch.float32).contiguous())

    def predict(self, history: Tensor) -> Tensor:
        r"""Scores of all items from histories.

        Args:
            history (Tensor): A row for each user, sparse CSR of shape :math:`(B, I)`.

        Returns:
            Tensor of shape :math:`(B, I)`.
        """
        raise NotImplementedError

    def score(self, user: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        return self.predict(self.history(user))

    @torch.no_grad()
    def score_history(self, history: Tensor) -> Tensor:
        r"""Scores of all items for users whom the model need not know, by their interactions.

        Args:
            history (Tensor): One at the items of each user, else zero; dense or sparse, of shape
                :math:`(B, I)`.

        Returns:
            Tensor of shape :math:`(B, I)`; nothing is masked.

        Raises:
            ValueError: If it has another shape, or a value is NaN or infinite.
        """
        return self.predict(history_rows(history, self.num_items, self.seen_ptr.device))

    @classmethod
    def limits(cls, data: HeteroData) -> dict[str, int]:
        """The greatest value of each setting that a data set bounds."""
        return {}

    def truncated(self, **settings: Any) -> Self:
        """A model with a smaller setting, taken from this one and not computed again."""
        raise NotImplementedError

    def _twin(self, **settings: Any) -> Self:
        twin = copy.copy(self)
        twin._buffers = dict(self._buffers)
        twin.config = self.config.replace(**settings)
        return twin

    @classmethod
    def restore(
        cls,
        config: Settings,
        parts: Mapping[str, Tensor],
        num_users: int,
        num_items: int,
        **arguments: Any,
    ) -> Self:
        """The model of settings and tensors that were saved.

        Args:
            config (Config or mapping): Settings.
            parts (mapping): The tensors of :attr:`layout`.
            num_users (int): Number of users.
            num_items (int): Number of items.
            **arguments: Others of :class:`~irllrec_pyg.ranking.Ranker`.

        Raises:
            ConfigError: If a setting is unknown or wrong.
            ValueError: If the tensors are not those of such a model.
        """
        model = cls.__new__(cls)
        settings = cls.Config.read(config)
        cls.check_parts(parts, {"U": num_users, "I": num_items, "1": 1, **settings.to_dict()})
        Ranker.__init__(model, num_users=num_users, num_items=num_items, **arguments)
        model.config = settings
        for name in cls.layout:
            model.register_buffer(name, parts[name])
        model.prepare()
        return model.eval()

    @classmethod
    def check_parts(cls, parts: Mapping[str, Tensor], sizes: dict[str, Any]) -> None:
        """Checks tensors of a file.

        Args:
            parts (mapping): Tensors by name.
            sizes (dict): Sizes by the names of axes.

        Raises:
            ValueError: If they are not those of this model.
        """
        if set(parts) != set(cls.layout):
            raise ValueError(f"its tensors must be {sorted(cls.layout)}, got {sorted(parts)}")
        for name, axes in cls.layout.items():
            part, named = parts[name], axes.split()
            wanted = [sizes.get(axis, size) for axis, size in zip(named, part.shape, strict=False)]
            if list(part.shape) != wanted or len(named) != part.dim() or not is_float(part):
                raise ValueError(
                    f"{name!r} must hold numbers of shape ({', '.join(named)}), {wanted}, got "
                    f"{part.dtype} of shape {tuple(part.shape)}"
                )
            sizes |= zip(named, part.shape, strict=True)
        if len({part.dtype for part in parts.values()}) > 1:
            raise ValueError("its tensors must be of one type of numbers")

    @property
    def grows(self) -> bool:
        """Whether the model can be padded, as those with a :attr:`layout` can."""
        return bool(self.layout)

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds items that nobody has touched: zeros in each tensor of :attr:`layout`."""
        for name, axes in self.layout.items():
            part = getattr(self, name)
            pad = [len(ids) if axis == "I" else 0 for axis in axes.split()]
            if any(pad):
                sides = [side for width in reversed(pad) for side in (0, width)]
                self.register_buffer(name, torch.nn.functional.pad(part, sides))
        super().grow(ids, texts)
        self.prepare()

    def contributions(self, person: Person, item: int) -> Contributions | None:
        """Scores of histories that hold one of the items alone: predictions are linear."""
        rows = person.rows(self.num_items, apart=True)
        block = max(1, self.block_size())
        if len(rows) <= block:
            return Contributions(self.predict(rows)[:, item])
        parts = [
            Person(person.label, None, items, weights).rows(self.num_items, apart=True)
            for items, weights in zip(
                person.items.split(block), person.weights.split(block), strict=True
            )
        ]
        return Contributions(torch.cat([self.predict(part)[:, item] for part in parts]))

    def history(self, user: Tensor) -> Tensor:
        r"""Training items of some users as rows of zeros and ones, sparse CSR of shape
        :math:`(B, I)`.
        """
        count = self.seen_ptr[user + 1] - self.seen_ptr[user]
        ptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
        item = self.seen(user)[1]
        value = torch.ones(item.numel(), device=item.device)
        return torch.sparse_csr_tensor(
            ptr, item, value, size=(user.numel(), self.num_items), check_invariants=False
        )

    def interactions(self) -> sp.csr_array:
        r"""The matrix :math:`\mathbf{R}`."""
        item, ptr = self.seen_item.cpu().numpy(), self.seen_ptr.cpu().numpy()
        return sp.csr_array((np.ones(len(item)), item, ptr), shape=(self.num_users, self.num_items))

    def degree(self) -> Tensor:
        """Training interactions of each item, floating point."""
        return torch.bincount(self.seen_item, minlength=self.num_items).float()

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value}" for name, value in self.config.to_dict().items())
        return f"{type(self).__name__}({self.num_users} users, {self.num_items} items{settings})"


class EmbeddingModel(DotProductRanker, LinearModel):
    """Base class of closed-form models whose scores are dot products of embeddings."""

    users: Tensor
    items: Tensor

    def embed(self) -> tuple[Tensor, Tensor]:
        """The embeddings of users and items."""
        return self.users, self.items

    def encode(self, history: Tensor) -> Tensor:
        r"""Embeddings of users by their histories, shape :math:`(B, d)`."""
        raise NotImplementedError

    def encode_users(self) -> None:
        """Computes the embeddings of the training users from their histories."""
        everyone = torch.arange(self.num_users, device=self.seen_ptr.device)
        self.register_buffer("users", self.encode(self.history(everyone)))

    def history_encoder(self) -> Scorer:
        """The encoder."""
        return self.encode

    def text_items(self, texts: Tensor) -> Tensor:
        r"""Embeddings of items by their texts alone, of shape :math:`(n, d)`, for vectors of shape
        :math:`(n, T)`; models that have a :attr:`text_width` have these.
        """
        raise NotImplementedError

    def text_scorer(self, person: Person) -> Scorer | None:
        """Dot products of a person's embedding with those of texts."""
        if self.text_width is None:
            return None
        if person.user is None:
            user = self.encode(person.rows(self.num_items))[0]
        else:
            user = self.users[person.user]
        return lambda texts: self.text_items(texts) @ user

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds items by their texts, or such as nobody has touched."""
        super().grow(ids, texts)
        if texts is not None and self.text_width is not None:
            self.items[-len(ids) :] = self.text_items(texts).to(self.items.dtype)

    def predict(self, history: Tensor) -> Tensor:
        r"""Dot products of encoded histories with all items, shape :math:`(B, I)`."""
        return self.encode(history) @ self.items.t()


class FactorModel(EmbeddingModel):
    r"""Base class of models that are linear maps of low rank, :math:`\mathbf{Y} = \mathbf{R}
    \mathbf{E} \mathbf{Q}^{\top}`, with ``encoder`` :math:`\mathbf{E}` and ``items``
    :math:`\mathbf{Q}`, both of shape :math:`(I, d)`.

    A user's embedding is the sum of rows of :math:`\mathbf{E}`, so a nearest-neighbour index
    over ``items`` serves any user.
    """

    layout: ClassVar = {"encoder": "I rank", "items": "I rank"}
    encoder: Tensor

    def encode(self, history: Tensor) -> Tensor:
        r"""Sums of the items' rows of the encoder, shape :math:`(B, d)`."""
        return multiply(history, self.encoder)

    def prepare(self) -> None:
        """Encodes the training users."""
        self.encode_users()


def row_sums(history: Tensor, dtype: torch.dtype) -> Tensor:
    """Sums of sparse rows, of shape ``(B, 1)``, one where a row is empty."""
    ones = torch.ones(history.size(1), 1, dtype=dtype, device=history.device)
    total = multiply(history, ones)
    return torch.where(total == 0, 1.0, total)


def is_float(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers that are computed with."""
    return tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def inverse_root(degree: Tensor) -> NDArray[np.float64]:
    r""":math:`d^{-1/2}` in float64, where 0 stays 0."""
    root: NDArray[np.float64] = torch.where(degree > 0, degree.double().rsqrt(), 0.0).cpu().numpy()
    return root
