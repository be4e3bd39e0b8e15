"""Trained models as safetensors files, which hold tensors and JSON and can run nothing."""

import json
from collections.abc import Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .files import atomic_path
from .ranking import DotProductRanker, Ranker
from .sparse import expand

KIND = "irllrec_pyg.ranker/1"


class CheckpointError(ValueError):
    """A checkpoint is damaged, or is not what it is loaded as."""


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], kind: str
) -> None:
    """Writes tensors and JSON into one file, which is there completely or not at all.

    Args:
        path (str or Path): The file; its folder is made.
        tensors (mapping): Tensors by name, on any device.
        metadata (mapping): Whatever JSON can hold.
        kind (str): What the file is, checked by :func:`read_tensors`.
    """
    # Tensors that share memory are written one by one, as safetensors demands.
    own: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        own[name] = tensor
    with atomic_path(path) as temporary:
        save_file(own, temporary, {"kind": kind, "json": json.dumps(dict(metadata))})


def read_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a file of :func:`write_tensors`, onto the CPU.

    Returns:
        The tensors by name, and the metadata.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            found = header.get("kind")
            if found != kind:
                raise CheckpointError(
                    f"{path} is not a file of kind {kind!r}, but "
                    f"{repr(found) if found else 'something else'}."
                )
            metadata: dict[str, Any] = json.loads(header["json"])
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError, KeyError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); it was probably cut off while it was "
            "copied. Delete it, or put a complete copy in its place."
        ) from error


class EmbeddingRecommender(DotProductRanker):
    r"""Ranks by the dot products of given embeddings; what is left of a model after training.

    Args:
        user_embedding (Tensor): Of shape :math:`(U, d)`.
        item_embedding (Tensor): Of shape :math:`(I, d)`.
        edge_index (Tensor): Training interactions, user ids over item ids, int64 of shape
            :math:`(2, E)`.
        user_ids (sequence, optional): The owner's id of each user. (default: ``0 .. U-1``)
        item_ids (sequence, optional): The owner's id of each item. (default: ``0 .. I-1``)
        info (mapping, optional): Anything worth knowing about the model. (default: nothing)
        known (Tensor, optional): All interactions that the data set knows of, of shape
            :math:`(2, M)`. (default: the training interactions)
    """

    user_embedding: Tensor
    item_embedding: Tensor

    def __init__(
        self,
        user_embedding: Tensor,
        item_embedding: Tensor,
        edge_index: Tensor,
        user_ids: Sequence[int | str] | None = None,
        item_ids: Sequence[int | str] | None = None,
        info: Mapping[str, Any] | None = None,
        known: Tensor | None = None,
    ) -> None:
        super().__init__(
            edge_index, user_embedding.size(0), item_embedding.size(0), user_ids, item_ids, known
        )
        self.register_buffer("user_embedding", user_embedding)
        self.register_buffer("item_embedding", item_embedding)
        self.info = dict(info or {})

    def embed(self) -> tuple[Tensor, Tensor]:
        """The embeddings of users and items."""
        return self.user_embedding, self.item_embedding

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.num_users} users, {self.num_items} items, "
            f"{self.user_embedding.size(1)})"
        )


def save_ranker(ranker: Ranker, path: str | Path, **info: Any) -> None:
    """Saves a trained model: what recommending needs, and its weights to go on training.

    Neither texts nor other data are needed beside the file; training interactions and the owner's
    ids are in it.

    Args:
        ranker (Ranker): A model whose scores are dot products of embeddings.
        path (str or Path): The file, by custom with the suffix ``.safetensors``.
        **info: Anything that JSON can hold; :func:`load_ranker` gives it back.

    Raises:
        ValueError: If the model has no embeddings, or an id is neither a number nor a string.
    """
    mode = ranker.training
    ranker.eval()
    try:
        with torch.no_grad():
            embeddings = ranker.embed()
    finally:
        ranker.train(mode)
    if embeddings is None:
        raise ValueError(
            f"{type(ranker).__name__} has no embeddings whose dot products are its "
            "scores; there is nothing to save that would rank like it."
        )
    tensors = {
        "user_embedding": embeddings[0],
        "item_embedding": embeddings[1],
        "seen_ptr": ranker.seen_ptr,
        "seen_item": ranker.seen_item,
        "known_ptr": ranker.known_ptr,
        "known_item": ranker.known_item,
    }
    for side, ids in (("user_ids", ranker.user_ids), ("item_ids", ranker.item_ids)):
        if ids is not None:
            text = json.dumps([_plain(value, side) for value in ids]).encode()
            tensors[side] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    tensors |= {f"state.{name}": value for name, value in ranker.state_dict().items()}
    write_tensors(path, tensors, {"class": type(ranker).__name__, "info": info}, KIND)


def load_ranker(path: str | Path) -> EmbeddingRecommender:
    """Loads a model of :func:`save_ranker` for recommending, without any other file.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged or not a saved model.

    Example:
        >>> load_ranker("run/model.safetensors").recommend("reader-17", k=5)
    """
    tensors, metadata = read_tensors(path, KIND)
    # Files of 0.1.0 know the training interactions only.
    seen, known = (
        torch.stack([expand(tensors[f"{name}_ptr"]), tensors[f"{name}_item"]])
        for name in ("seen", "known" if "known_ptr" in tensors else "seen")
    )
    ids = {
        side: json.loads(bytes(tensors[side].numpy())) if side in tensors else None
        for side in ("user_ids", "item_ids")
    }
    return EmbeddingRecommender(
        tensors["user_embedding"],
        tensors["item_embedding"],
        seen,
        **ids,
        known=known,
        info=metadata["info"],
    )


def load_weights(model: torch.nn.Module, path: str | Path) -> dict[str, Any]:
    """Puts the weights of :func:`save_ranker` into a model that was built like the saved one.

    Returns:
        The file's ``info``.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, or the weights are not those of such a model.
    """
    tensors, metadata = read_tensors(path, KIND)
    state = {
        name.removeprefix("state."): value
        for name, value in tensors.items()
        if name.startswith("state.")
    }
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} holds the weights of another model. {error}") from error
    info: dict[str, Any] = metadata["info"]
    return info


def _plain(value: Any, side: str) -> int | str:
    if isinstance(value, str):
        return str(value)
    try:
        if isinstance(value, bool):
            raise TypeError
        return int(index(value))
    except TypeError:
        raise ValueError(
            f"'{side}' holds {value!r}; only whole numbers and strings can be saved."
        ) from None
