"""Text features of a data set, and the one error for when they are not there."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

WHAT = {"x": "profile-text embeddings", "intent": "intent-text embeddings"}


class MissingTextError(ValueError):
    """A model needs text embeddings that the data set does not have."""


def text_features(data: HeteroData, field: str, sides: Sequence[str] = ("user", "item")) -> Tensor:
    r"""Stacks the text embeddings of users and items, users first.

    Args:
        data (HeteroData): A data set as :class:`irllrec_pyg.IRLLRecDataset` yields it.
        field (str): ``"x"`` (profile texts) or ``"intent"`` (intent texts).
        sides (sequence of str, optional): Whose. (default: users and items)

    Returns:
        Tensor of shape :math:`(|\mathcal{U}| + |\mathcal{I}|, T)` in the default dtype. It shares
        the data set's memory where that holds both behind each other, as those here do.

    Raises:
        MissingTextError: If users or items have no such embeddings; it says where to get them.
    """
    parts = [data[side].get(field) for side in sides]
    if any(part is None for part in parts):
        hints = data.get("missing", {}) if "missing" in data else {}
        bare = [side for side, part in zip(sides, parts, strict=True) if part is None]
        raise MissingTextError(
            hints.get(field)
            or (
                f"The data set has no {WHAT[field]} for its {' and '.join(bare)} nodes: set "
                + " and ".join(f"data['{side}'].{field}" for side in bare)
                + " to a tensor with one row a node."
            )
        )
    for side, part in zip(sides, parts, strict=True):
        if part.dim() != 2 or part.size(0) != data[side].num_nodes:
            raise ValueError(
                f"data['{side}'].{field} has shape {tuple(part.shape)}; expected one "
                f"row for each of the {data[side].num_nodes} {side} nodes."
            )
    if parts[0].size(1) != parts[-1].size(1):
        raise ValueError(
            f"data['user'].{field} is {parts[0].size(1)} wide and "
            f"data['item'].{field} is {parts[-1].size(1)} wide; one encoder must "
            "have made both."
        )
    return _stack([part.to(torch.get_default_dtype()) for part in parts])


def stamp(tensor: Tensor) -> tuple[Any, ...]:
    """Differs where a tensor is another one or was changed in place."""
    version = 0 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), tuple(tensor.shape), tensor.dtype, version


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
        # They lie behind each other already: texts are frozen, and gigabytes are not copied.
        return first.as_strided((first.size(0) + last.size(0), first.size(1)), (first.size(1), 1))
    return torch.cat(list(parts))
