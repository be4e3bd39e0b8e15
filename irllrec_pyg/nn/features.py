"""Text features of a data set, and the one error for when they are not there."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE

WHAT = {"x": "profile-text embeddings", "intent": "intent-text embeddings"}
log = logging.getLogger(__name__)
# Texts of items whose users' means were announced; a data set's copies share the tensor.
_announced: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


class MissingTextError(ValueError):
    """A model needs text embeddings that the data set does not have."""


def text_features(data: HeteroData, field: str, sides: Sequence[str] = ("user", "item")) -> Tensor:
    r"""Stacks the text embeddings of users and items, users first.

    Where the items alone have texts, users get :func:`user_means`, and a log line says so once
    for each data set and field.

    Args:
        data (HeteroData): A data set as :class:`irllrec_pyg.IRLLRecDataset` yields it.
        field (str): ``"x"`` (profile texts) or ``"intent"`` (intent texts).
        sides (sequence of str, optional): Whose. (default: users and items)

    Returns:
        Tensor of shape :math:`(|\mathcal{U}| + |\mathcal{I}|, T)` in the default dtype. It shares
        the data set's memory where that holds the items right after the users, as the data sets
        here do.

    Raises:
        MissingTextError: If the items, or the only side that was asked for, have no such
            embeddings; it says where to get them.
        ValueError: If a shape does not fit; it is named.
    """
    given = {side: data[side].get(field) for side in sides}
    missing = [side for side, part in given.items() if part is None]
    means_of_items = missing == ["user"] and len(sides) == 2
    if missing and not means_of_items:
        raise _missing(data, field, missing)
    texts = {side: part for side, part in given.items() if part is not None}
    for side, part in texts.items():
        if part.dim() != 2 or part.size(0) != data[side].num_nodes:
            raise ValueError(
                f"data['{side}'].{field} has shape {tuple(part.shape)}; expected one "
                f"row for each of the {data[side].num_nodes} {side} nodes."
            )
    if len({part.size(1) for part in texts.values()}) > 1:
        raise ValueError(
            f"data['user'].{field} is {texts['user'].size(1)} wide and "
            f"data['item'].{field} is {texts['item'].size(1)} wide; one encoder must "
            "have made both."
        )
    parts = {side: part.to(torch.get_default_dtype()) for side, part in texts.items()}
    if means_of_items:
        edge_index = data[EDGE_TYPE].edge_index
        parts["user"] = user_means(parts["item"], edge_index, data["user"].num_nodes)
        _announce_means(texts["item"], field)
    return _stack([parts[side] for side in sides])


def user_means(item: Tensor, edge_index: Tensor, num_users: int) -> Tensor:
    r"""Vectors of users as the means of their training items' vectors.

    Args:
        item (Tensor): Vectors of the items, floating point of shape :math:`(|\mathcal{I}|, T)`.
        edge_index (Tensor): Training interactions, user ids over item ids, int64 of shape
            :math:`(2, E)`.
        num_users (int): Number of users.

    Returns:
        Tensor of shape :math:`(|\mathcal{U}|, T)` in the dtype of ``item``; zeros for users
        without items.
    """
    edge_index = edge_index.to(item.device)
    wide = torch.promote_types(item.dtype, torch.float32)
    count = torch.bincount(edge_index[0], minlength=num_users)
    share = 1 / count.to(wide)
    # A sparse product: gathering the rows would take memory for every interaction's vector.
    matrix = torch.sparse_coo_tensor(
        edge_index, share[edge_index[0]], (num_users, item.size(0)), check_invariants=True
    )
    means: Tensor = torch.sparse.mm(matrix, item.to(wide))
    return means.to(item.dtype)


@dataclass(frozen=True)
class PrincipalComponents:
    r"""Directions in which vectors vary most; :meth:`project` makes wide vectors narrow.

    Args:
        mean (Tensor): Mean of the vectors, shape :math:`(T)`.
        directions (Tensor): The first directions, orthonormal, shape :math:`(T, r)`.
        kept (float): Share of the variance that lies in them.
    """

    mean: Tensor
    directions: Tensor
    kept: float

    def project(self, x: Tensor) -> Tensor:
        r"""Coordinates of vectors, shape :math:`(N, T)`, along the directions: :math:`(N, r)`."""
        wide = x.to(self.mean.dtype) - self.mean
        return (wide @ self.directions).to(x.dtype)


def principal_components(x: Tensor, rank: int) -> PrincipalComponents:
    r"""The first principal components of vectors.

    They are computed in double precision from the :math:`T \times T` covariance, and each direction
    has its largest entry positive, so that the result does not depend on the machine's signs.

    Args:
        x (Tensor): The vectors, floating point of shape :math:`(N, T)`.
        rank (int): How many; all of them where there are fewer.

    Raises:
        ValueError: If ``rank`` is below 1.
    """
    if rank < 1:
        raise ValueError(f"'rank' must be at least 1, got {rank}.")
    wide = x.double()
    mean = wide.mean(dim=0)
    centred = wide - mean
    variances, vectors = torch.linalg.eigh(centred.t() @ centred)
    variances, vectors = variances.flip(0).clamp_min(0), vectors.flip(1)
    directions = vectors[:, : min(rank, x.size(1))]
    largest = directions.abs().argmax(dim=0, keepdim=True)
    directions = directions * directions.gather(0, largest).sign()
    total = float(variances.sum())
    kept = float(variances[: directions.size(1)].sum()) / total if total else 1.0
    return PrincipalComponents(mean, directions, min(kept, 1.0))


def narrow_texts(data: HeteroData, rank: int) -> HeteroData:
    """A copy of a data set whose texts are the first principal components of those that it has,
    users' and items' together; everything else is shared. Texts of at most ``rank`` numbers stay as
    they are. A log line says how much of the variance is kept.
    """
    out = copy.copy(data)
    for field, what in WHAT.items():
        parts = {s: data[s][field] for s in ("user", "item") if data[s].get(field) is not None}
        widths = {part.size(1) for part in parts.values()}
        if len(widths) != 1 or rank >= min(widths):
            continue  # there are none, or text_features says that they do not fit
        components = principal_components(torch.cat(list(parts.values())), rank)
        for side, part in parts.items():
            out[side][field] = components.project(part)
        log.info(
            "%d of %d principal components keep %.1f %% of the variance of the %s.",
            *(rank, *widths, 100 * components.kept, what),
        )
    return out


def _announce_means(item: Tensor, field: str) -> None:
    if item not in _announced:
        _announced[item] = True
        log.warning(
            "The data set has %s of its items alone: each user's vector is the mean of their "
            "training items' vectors.",
            WHAT.get(field, field),
        )


def _missing(data: HeteroData, field: str, sides: Sequence[str]) -> MissingTextError:
    hints = data.get("missing", {}) if "missing" in data else {}
    return MissingTextError(
        hints.get(field)
        or (
            f"The data set has no {WHAT[field]} for its {' and '.join(sides)} nodes: set "
            + " and ".join(f"data['{side}'].{field}" for side in sides)
            + " to a tensor with one row a node."
        )
    )


def _stack(parts: Sequence[Tensor]) -> Tensor:
    first, last = parts[0], parts[-1]
    shared = first.untyped_storage().data_ptr() == last.untyped_storage().data_ptr()
    follows = shared and last.data_ptr() == first.data_ptr() + first.nbytes
    if len(parts) == 2 and follows and first.is_contiguous() and last.is_contiguous():
        # The items' rows follow the users' already: gigabytes of texts are not copied.
        return first.as_strided((first.size(0) + last.size(0), first.size(1)), (first.size(1), 1))
    return torch.cat(list(parts))
