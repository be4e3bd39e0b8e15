"""What the file of a saved ranker holds beside its weights: interactions and ids, all checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .ids import plain_id, repeated_id, too_large
from .linear.base import is_float
from .ranking import Ranker
from .sparse import check_csr, expand
from .tensor_file import damaged, is_finite, read_tensors

KIND = "irllrec_pyg.ranker/2"
EMBEDDINGS = ("user_embedding", "item_embedding")
POINTERS = ("seen_ptr", "seen_item", "known_ptr", "known_item")  # the last two are optional
IDS = ("user_ids", "item_ids")
WHOLE = ("linear", "blend")  # models that are described whole in the metadata


class SavedRanker(NamedTuple):
    """What a file of a saved model holds, by what it is for.

    Args:
        metadata (dict): What the model is.
        sizes (tuple): Numbers of users and items.
        shared (dict): Interactions and ids, as arguments of :class:`~irllrec_pyg.ranking.Ranker`.
        own (dict): Tensors that tell how the model ranks.
        weights (dict): The state of a trained model.
    """

    metadata: dict[str, Any]
    sizes: tuple[int, int]
    shared: dict[str, Any]
    own: dict[str, Tensor]
    weights: dict[str, Tensor]


def shared_tensors(ranker: Ranker) -> dict[str, Tensor]:
    """A ranker's interactions and ids.

    Raises:
        ValueError: If an id is neither a number nor a string.
    """
    tensors: dict[str, Tensor] = {name: getattr(ranker, name) for name in POINTERS}
    for side in IDS:
        if (ids := getattr(ranker, side)) is not None:
            text = json.dumps([plain_id(value, repr(side)) for value in ids]).encode()
            tensors[side] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return tensors


def read_ids(tensors: Mapping[str, Tensor]) -> dict[str, list[int | str] | None]:
    """The owner's ids by side."""
    return {side: _parse(tensors[side]) if side in tensors else None for side in IDS}


def _read_pairs(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """Interactions by name: those that were seen, or those that are known."""
    return torch.stack([expand(tensors[f"{name}_ptr"]), tensors[f"{name}_item"]])


def read_ranker(path: str | Path) -> SavedRanker:
    """Reads a saved model. The tensors of one that is described whole are checked when it is
    restored, all others here.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged or not a saved model.
    """
    tensors, metadata = read_tensors(path, KIND)
    try:
        if not isinstance(metadata.get("class"), str):
            raise ValueError("'class' must be a name")
        for name, absent in (("info", None), ("model", {})):
            if not isinstance(metadata.get(name, absent), dict):
                raise ValueError(f"{name!r} must be a mapping")
        sizes = _check_tensors(tensors, metadata)
    except ValueError as error:
        raise damaged(Path(path), error) from error
    shared = {
        "edge_index": _read_pairs(tensors, "seen"),
        "known": _read_pairs(tensors, "known" if "known_ptr" in tensors else "seen"),
        **read_ids(tensors),
    }
    parts: dict[bool, dict[str, Tensor]] = {False: {}, True: {}}
    for name, tensor in tensors.items():
        if name not in (*POINTERS, *IDS):
            parts[name.startswith("state.")][name.removeprefix("state.")] = tensor
    return SavedRanker(metadata, sizes, shared, parts[False], parts[True])


def is_whole(metadata: Mapping[str, Any]) -> bool:
    """Whether a model is described whole."""
    return any(name in metadata for name in WHOLE)


def _check_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> tuple[int, int]:
    """Checks what a file holds, and returns the numbers of users and items."""
    own = ("part.",) if is_whole(metadata) else ("state.", "fold.", "intents.", *EMBEDDINGS)
    for name, tensor in tensors.items():
        prefix = name.partition(".")[0]
        of_a_part = "blend" in metadata and (prefix.isdigit() or prefix == "trees")
        if not of_a_part and not name.startswith(own) and name not in (*POINTERS, *IDS):
            raise ValueError(f"{name!r} is no part of a model")
        if not is_finite(tensor):
            raise ValueError(f"{name!r} is NaN or infinite")
    if is_whole(metadata):
        sizes = metadata.get("sizes")
        if (
            not isinstance(sizes, list)
            or len(sizes) != 2
            or not all(type(size) is int and 0 < size < 2**31 for size in sizes)
        ):
            raise ValueError(f"'sizes' must be numbers of users and items, got {sizes!r}")
        users, items = sizes
    else:
        users, items = check_embeddings(tensors)
    for name in ("seen", "known"):
        ptr, item = f"{name}_ptr", f"{name}_item"
        if name == "seen" and (missing := [part for part in (ptr, item) if part not in tensors]):
            raise ValueError(f"{missing[0]!r} is missing")
        if ptr in tensors or item in tensors:
            check_csr(ptr, tensors.get(ptr), item, tensors.get(item), users, items)
    for name, count in zip(IDS, (users, items), strict=True):
        if name in tensors:
            _check_ids(name, tensors[name], count)
    return users, items


def check_embeddings(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Checks embeddings of users and items, and returns how many there are.

    Raises:
        ValueError: If they are missing or no embeddings.
    """
    for name in EMBEDDINGS:
        if name not in tensors:
            raise ValueError(f"{name!r} is missing")
        tensor = tensors[name]
        if tensor.dim() != 2 or not is_float(tensor) or not tensor.numel():
            raise ValueError(
                f"{name!r} must be a matrix of numbers, got {tensor.dtype} of shape "
                f"{tuple(tensor.shape)}"
            )
    users, items = (tensors[name] for name in EMBEDDINGS)
    if users.size(1) != items.size(1) or users.dtype != items.dtype:
        raise ValueError(
            f"users' embeddings are {users.size(1)} wide in {users.dtype}, items' "
            f"{items.size(1)} in {items.dtype}"
        )
    return users.size(0), items.size(0)


def _check_ids(name: str, text: Tensor, count: int) -> None:
    if text.dtype != torch.uint8 or text.dim() != 1:
        raise ValueError(f"{name!r} must be bytes")
    try:
        ids = _parse(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name!r} must be a list in JSON: {error}") from error
    if not isinstance(ids, list) or len(ids) != count:
        raise ValueError(f"{name!r} must be a list of {count} ids")
    if not all(isinstance(value, (str, int)) and not isinstance(value, bool) for value in ids):
        raise ValueError(f"{name!r} must hold numbers and strings")
    if any(map(too_large, ids)):
        raise ValueError(f"{name!r} must hold integers of at most 64 bits")
    if repeated_id(ids) is not None:
        raise ValueError(f"{name!r} must be distinct")


def _parse(text: Tensor) -> Any:
    return json.loads(text.numpy().tobytes())
