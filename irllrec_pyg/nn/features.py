"""Text features of a data set, and the one error for when they are not there."""

import copy
import logging
from collections.abc import Sequence

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


def principal_components(x: Tensor, rank: int) -> Tensor:
    r"""The first principal components of some vectors, and a log line about the variance kept.

    With the mean :math:`\mu` of the rows and the eigenvectors :math:`V_k` of their covariance with
    the greatest eigenvalues, :math:`(X - \mu) V_k`. An eigenvector's sign is such that its greatest
    entry is positive.

    Args:
        x (Tensor): Vectors, floating point of shape :math:`(N, T)`.
        rank (int): :math:`k`. Vectors of at most so many numbers stay as they are.

    Returns:
        Tensor of shape :math:`(N, \min(k, T))` in the dtype of ``x``.
    """
    if rank < 1:
        raise ValueError(f"'rank' must be at least 1, got {rank}.")
    if rank >= x.size(1):
        return x
    wide = torch.promote_types(x.dtype, torch.float32)
    centred = x.to(wide) - x.to(wide).mean(0)
    value, vectors = torch.linalg.eigh((centred.t() @ centred).double())  # ascending
    vectors, kept = vectors[:, -rank:].flip(1), value[-rank:].sum() / value.sum()
    vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    log.info(
        "%d of %d principal components keep %.1f %% of the variance.", rank, x.size(1), 100 * kept
    )
    out: Tensor = centred @ vectors.to(wide)
    return out.to(x.dtype)


def narrow_texts(data: HeteroData, rank: int) -> HeteroData:
    """A copy of a data set whose texts are :func:`principal_components` of those that it has,
    users' and items' together; everything else is shared.
    """
    out = copy.copy(data)
    for field, what in WHAT.items():
        parts = {s: data[s][field] for s in ("user", "item") if data[s].get(field) is not None}
        if len({part.size(1) for part in parts.values()}) != 1:
            continue  # there are none, or text_features says that they do not fit
        log.info("Reducing the %s.", what)
        narrow = principal_components(torch.cat(list(parts.values())), rank)
        rows = narrow.split([part.size(0) for part in parts.values()])
        for side, part in zip(parts, rows, strict=True):
            out[side][field] = part
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
    storages = {part.untyped_storage().data_ptr() for part in parts}
    end = first.storage_offset() + first.numel()
    if (
        len(parts) == 2
        and len(storages) == 1
        and first.is_contiguous()
        and last.is_contiguous()
        and last.storage_offset() == end
    ):
        # The items' rows follow the users' already: gigabytes of texts are not copied.
        return first.as_strided((first.size(0) + last.size(0), first.size(1)), (first.size(1), 1))
    return torch.cat(list(parts))
