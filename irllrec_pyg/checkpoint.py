"""Trained models as files: saving, checking every field, and building again."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import index
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch_geometric.data import HeteroData

from .config import ConfigError
from .edges import EDGE_TYPE
from .ids import repeated_id, too_large
from .nn.features import MissingTextError
from .nn.recommender import ModelConfig, Recommender
from .ranking import DotProductRanker, Ranker
from .sparse import expand
from .tensor_file import CheckpointError, damaged, read_tensors, write_tensors

KIND = "irllrec_pyg.ranker/2"
EMBEDDINGS = ("user_embedding", "item_embedding")
POINTERS = ("seen_ptr", "seen_item", "known_ptr", "known_item")  # the last two are optional
IDS = ("user_ids", "item_ids")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


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


def save_ranker(ranker: Ranker, path: str | Path, **info: Any) -> str:
    """Saves a trained model: what recommending needs, and its weights to go on training.

    Neither texts nor other data are needed beside the file; training interactions, all other
    interactions that the model knows of, and the owner's ids are in it.

    Args:
        ranker (Ranker): A model whose scores are dot products of embeddings.
        path (str or Path): The file, by custom with the suffix ``.safetensors``.
        **info: Anything that JSON can hold; :func:`load_ranker` gives it back.

    Returns:
        The file's hash.

    Raises:
        ValueError: If the model has no embeddings, a weight is NaN or infinite, or an id is neither
            a number nor a string.
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
    tensors = {"user_embedding": embeddings[0], "item_embedding": embeddings[1]}
    for name in POINTERS:
        if (value := getattr(ranker, name, None)) is not None:
            tensors[name] = value
    for side in IDS:
        if (ids := getattr(ranker, side)) is not None:
            plain = [_plain(value, side) for value in ids]
            if repeated_id(plain) is not None:
                raise ValueError(f"'{side}' must be distinct; an id occurs twice.")
            text = json.dumps(plain).encode()
            tensors[side] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    tensors |= {f"state.{name}": value for name, value in ranker.state_dict().items()}
    for name, value in tensors.items():
        if not _finite(value):
            raise ValueError(
                f"{name.removeprefix('state.')!r} of {type(ranker).__name__} is NaN or infinite: "
                "the model has diverged and is not saved."
            )
    metadata = {"class": type(ranker).__name__, "info": info}
    if isinstance(ranker, Recommender):
        metadata["model"] = ranker.description
    return write_tensors(path, tensors, metadata, KIND)


def load_ranker(path: str | Path) -> EmbeddingRecommender:
    """Loads a model of :func:`save_ranker` for recommending, without any other file.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged or not a saved model.

    Example:
        >>> _ = save_ranker(build_model("lightgcn", data), "model.safetensors")
        >>> list(load_ranker("model.safetensors").recommend(7, k=2)["rank"])
        [1, 2]
    """
    tensors, metadata = _read_ranker(path)
    return EmbeddingRecommender(
        tensors["user_embedding"],
        tensors["item_embedding"],
        _pairs(tensors, "seen"),
        **_ids(tensors),
        known=_pairs(tensors, "known" if "known_ptr" in tensors else "seen"),
        info=metadata["info"],
    )


def load_model(path: str | Path, data: HeteroData | None = None) -> Recommender:
    """Builds a model of :func:`save_ranker` again, from its file, with its weights.

    Args:
        path (str or Path): The file.
        data (HeteroData, optional): The data set that it was trained on, to go on training. Without
            it the model has the graph and the ids that are in the file and no heads: these need
            texts, and ranking does not need them. (default: ``None``)

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, or holds a model that is not described by
            registered names.
        MissingTextError: If the backbone reads texts, and they are not given.
    """
    tensors, metadata = _read_ranker(path)
    try:
        config = ModelConfig.read(metadata.get("model") or {"backbone": {}})
    except ConfigError as error:
        raise CheckpointError(
            f"{path} holds a model that cannot be built from its file ({error}); build it as it "
            "was built, and use load_weights."
        ) from error
    if data is None:
        data = HeteroData()
        ids = _ids(tensors)
        for side, name in zip(("user", "item"), EMBEDDINGS, strict=True):
            data[side].num_nodes = tensors[name].size(0)
            if ids[f"{side}_ids"] is not None:
                data[side].raw_id = ids[f"{side}_ids"]
        data[EDGE_TYPE].edge_index = _pairs(tensors, "seen")
        if "known_ptr" in tensors:
            data[EDGE_TYPE].edge_label_index = _pairs(tensors, "known")
        config = config.replace(heads={})
    weights = {name: value for name, value in tensors.items() if name.startswith("state.")}
    try:
        with _no_more_than(weights.values()):
            model = Recommender.from_config(config, data)
    except MissingTextError:
        raise
    except (RuntimeError, MemoryError, OverflowError, ValueError) as error:
        raise CheckpointError(
            f"{path} holds a model that cannot be built from its file ({error})."
        ) from error
    model.to(tensors["user_embedding"].dtype)
    load_weights(model, path, heads=bool(config.heads))
    return model.eval()


@contextmanager
def _no_more_than(weights: Collection[Tensor]) -> Iterator[None]:
    """Ends the building of a model whose settings ask for far more than the file has weights of.

    A parameter is registered before its memory is written to, and so before it is taken.
    """
    size = sum(value.numel() for value in weights)
    most, count = 10 * len(weights) + 100, 0  # parts of a model may be built, and replaced

    def check(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter) -> None:
        nonlocal count
        count += 1
        if count > most or (parameter is not None and parameter.numel() > size):
            raise ValueError("its settings ask for more weights than it has")

    handle = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        handle.remove()


def _pairs(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    return torch.stack([expand(tensors[f"{name}_ptr"]), tensors[f"{name}_item"]])


def _ids(tensors: Mapping[str, Tensor]) -> dict[str, list[int | str] | None]:
    return {side: _read_ids(tensors[side]) if side in tensors else None for side in IDS}


def load_weights(model: torch.nn.Module, path: str | Path, heads: bool = True) -> dict[str, Any]:
    """Puts the weights of :func:`save_ranker` into a model that was built like the saved one.

    Args:
        model (torch.nn.Module): The model.
        path (str or Path): The file.
        heads (bool, optional): Whether the weights of heads are wanted; a model without heads
            ranks as one that has them. (default: ``True``)

    Returns:
        The file's ``info``.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, or the weights are not those of such a model with
            the same ids, which is then left as it was.
    """
    tensors, metadata = _read_ranker(path)
    state = {
        name.removeprefix("state."): value
        for name, value in tensors.items()
        if name.startswith("state.") and (heads or not name.startswith("state.heads."))
    }
    try:
        check_state(state, model.state_dict())
    except ValueError as error:
        raise CheckpointError(f"{path} holds the weights of another model: {error}") from error
    for side, saved in _ids(tensors).items() if isinstance(model, Ranker) else ():
        own = getattr(model, side)
        # Another order of the same ids would give each user the answers for another one.
        if (None if own is None else list(own)) != saved:
            raise CheckpointError(
                f"{path} was saved with other {side!r} than the model has, or with another order "
                "of them; build the model with the data set that it was trained on."
            )
    model.load_state_dict(state)
    info: dict[str, Any] = metadata["info"]
    return info


def check_state(state: Any, expected: Mapping[str, Any]) -> None:
    """Compares names, shapes and kinds of weights, which must be finite.

    Raises:
        ValueError: If a weight is missing, unknown or wrong; it is named.
    """
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError("weights must be tensors by name.")
    for name in [*expected, *state]:
        if name not in state or name not in expected:
            raise ValueError(f"{name!r} is {'missing' if name in expected else 'not known'}.")
        given, wanted = state[name], expected[name]
        if given.shape != wanted.shape or given.is_floating_point() != wanted.is_floating_point():
            raise ValueError(
                f"{name!r} must be {wanted.dtype} of shape {tuple(wanted.shape)}, got "
                f"{given.dtype} of shape {tuple(given.shape)}."
            )
        if not _finite(given):
            raise ValueError(f"{name!r} is NaN or infinite.")


def _read_ranker(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata of a saved model, after every field was checked."""
    tensors, metadata = read_tensors(path, KIND)
    try:
        _check_ranker(tensors)
        if not isinstance(metadata.get("class"), str):
            raise ValueError("'class' must be a name")
        for name, absent in (("info", None), ("model", {})):
            if not isinstance(metadata.get(name, absent), dict):
                raise ValueError(f"{name!r} must be a mapping")
    except ValueError as error:
        raise damaged(Path(path), error) from error
    return tensors, metadata


def _check_ranker(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not name.startswith("state.") and name not in (*EMBEDDINGS, *POINTERS, *IDS):
            raise ValueError(f"{name!r} is no part of a model")
        if not _finite(tensor):
            raise ValueError(f"{name!r} is NaN or infinite")
    if missing := [name for name in (*EMBEDDINGS, *POINTERS[:2]) if name not in tensors]:
        raise ValueError(f"{missing[0]!r} is missing")
    users, items = (tensors[name] for name in EMBEDDINGS)
    for name, tensor in zip(EMBEDDINGS, (users, items), strict=True):
        if tensor.dim() != 2 or tensor.dtype not in FLOATS or not tensor.numel():
            raise ValueError(
                f"{name!r} must be a matrix of numbers, got {tensor.dtype} of shape "
                f"{tuple(tensor.shape)}"
            )
    if users.size(1) != items.size(1) or users.dtype != items.dtype:
        raise ValueError(
            f"users' embeddings are {users.size(1)} wide in {users.dtype}, items' "
            f"{items.size(1)} in {items.dtype}"
        )
    _check_pairs(tensors, "seen", users.size(0), items.size(0))
    if "known_ptr" in tensors or "known_item" in tensors:
        _check_pairs(tensors, "known", users.size(0), items.size(0))
    for name, count in zip(IDS, (users.size(0), items.size(0)), strict=True):
        if name in tensors:
            _check_ids(name, tensors[name], count)


def _check_pairs(tensors: Mapping[str, Tensor], name: str, users: int, items: int) -> None:
    pointer, item = tensors.get(f"{name}_ptr"), tensors.get(f"{name}_item")
    for part, tensor in (("ptr", pointer), ("item", item)):
        if tensor is None or tensor.dtype != torch.long or tensor.dim() != 1:
            raise ValueError(f"'{name}_{part}' must be a vector of int64")
    assert pointer is not None
    assert item is not None
    # Neighbours are compared, and not subtracted: a difference may wrap around.
    if (
        pointer.numel() != users + 1
        or pointer[0] != 0
        or pointer[-1] != item.numel()
        or bool((pointer[1:] < pointer[:-1]).any())
    ):
        raise ValueError(f"'{name}_ptr' must rise from 0 to {item.numel()} in {users} steps")
    if item.numel() and (int(item.min()) < 0 or int(item.max()) >= items):
        raise ValueError(
            f"'{name}_item' must lie between 0 and {items - 1}, got {int(item.min())} to "
            f"{int(item.max())}"
        )


def _check_ids(name: str, text: Tensor, count: int) -> None:
    if text.dtype != torch.uint8 or text.dim() != 1:
        raise ValueError(f"{name!r} must be bytes")
    try:
        ids = _read_ids(text)
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


def _read_ids(text: Tensor) -> Any:
    return json.loads(text.numpy().tobytes())


def _finite(tensor: Tensor) -> bool:
    return not tensor.dtype.is_floating_point or bool(tensor.isfinite().all())


def _plain(value: Any, side: str) -> int | str:
    if isinstance(value, str):
        return str(value)
    try:
        if isinstance(value, bool):
            raise TypeError
        if too_large(number := int(index(value))):
            raise TypeError
        return number
    except TypeError:
        raise ValueError(
            f"'{side}' holds {value!r}; only whole numbers of 64 bits and strings can be saved."
        ) from None
