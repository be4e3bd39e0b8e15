"""Trained models as safetensors files, which hold tensors and JSON and can run nothing."""

import errno
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import index
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch_geometric.data import HeteroData

from .config import ConfigError
from .edges import EDGE_TYPE
from .files import atomic_path
from .ids import repeated_id, too_large
from .nn.features import MissingTextError
from .nn.recommender import ModelConfig, Recommender
from .ranking import DotProductRanker, Ranker
from .sparse import expand

KIND = "irllrec_pyg.ranker/2"
EMBEDDINGS = ("user_embedding", "item_embedding")
POINTERS = ("seen_ptr", "seen_item", "known_ptr", "known_item")  # the last two are optional
IDS = ("user_ids", "item_ids")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

# What a file of this package stays far below, and what is read before anything is checked.
MAX_HEADER = 32 << 20  # bytes; some 80,000 epochs of a history
MAX_TENSORS = 10_000
MAX_CONTAINERS = 2_000_000  # lists and mappings in JSON: three bytes in a file take 72 in memory
_HASH = re.compile(r"[0-9a-f]{64}")
_UNHASHED = "0" * 64  # stands in the place of the hash while it is computed


class CheckpointError(ValueError):
    """A checkpoint is damaged, or is not what it is loaded as."""


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], kind: str
) -> str:
    """Writes tensors and JSON into one file, which is there completely or not at all.

    The file holds a BLAKE2b hash of all of its bytes (with zeros in the place of the hash).

    Args:
        path (str or Path): The file; its folder is made.
        tensors (mapping): Tensors by name, on any device.
        metadata (mapping): Whatever JSON can hold.
        kind (str): What the file is, a name and a version such as ``"irllrec_pyg.ranker/2"``;
            checked by :func:`read_tensors`.

    Returns:
        The hash, 64 hexadecimal digits.

    Raises:
        OSError: If the file cannot be written; of a full disk, the message says so.
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
    header = {"kind": kind, "json": json.dumps(dict(metadata)), "blake2b": _UNHASHED}
    try:
        with atomic_path(path) as temporary:
            save_file(own, temporary, header)
            return _write_hash(temporary)
    except SafetensorError as error:  # safetensors gives the system's errors as text
        full = "os error 28" in str(error)
        raise OSError(
            errno.ENOSPC if full else errno.EIO,
            "The disk is full, nothing was replaced" if full else f"Could not be written ({error})",
            str(path),
        ) from error


def read_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a file of :func:`write_tensors`, onto the CPU.

    Files of version 1 (0.1.0) have no hash; of these, only the format is checked.

    Returns:
        The tensors by name, each in memory of its own, and the metadata.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, was changed, or is of another kind.
    """
    path = Path(path)
    header = _checked_header(path, kind)
    try:
        metadata = json.loads(header["json"])
        with safe_open(path, framework="pt") as file:
            # A copy: safetensors maps the file at any address, and products of matrices round
            # differently with where these lie in memory. PyTorch's own memory is aligned.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, RecursionError, TypeError) as error:
        raise _damaged(path, error) from error
    if not isinstance(metadata, dict):
        raise _damaged(path, "its metadata is no mapping")
    return tensors, metadata


def content_hash(path: str | Path, kind: str) -> str:
    """The hash that a file of :func:`write_tensors` holds, after it was compared with the bytes.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged, was changed, or is of another kind.
    """
    return _checked_header(Path(path), kind).get("blake2b", "")


def _checked_header(path: Path, kind: str) -> dict[str, str]:
    """The texts in a file's header, after its size, kind and hash were checked."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}.")
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MAX_HEADER:
            raise _damaged(path, f"its header has {size} bytes, more than {MAX_HEADER}")
        raw = file.read(size)
        if len(raw) < max(size, 2):
            raise _damaged(path, "it is too short")
        if raw.count(b'"data_offsets"') > MAX_TENSORS:
            raise _damaged(path, f"it holds more than {MAX_TENSORS} tensors")
        if _containers(raw) > MAX_CONTAINERS:
            raise _damaged(path, f"its header holds more than {MAX_CONTAINERS} lists and mappings")
        try:
            found = json.loads(raw)
            header = found.get("__metadata__", {})
            texts = all(isinstance(text, str) for text in header.values())
        except (ValueError, RecursionError, AttributeError) as error:
            raise _damaged(path, error) from error
        if not texts or len(found) > MAX_TENSORS + 1:
            raise _damaged(path, "its header is not that of a checkpoint")
        old = _check_kind(path, header.get("kind"), kind)
        stored = header.get("blake2b")
        if stored is None and old:
            return dict(header)
        if stored is None or not _HASH.fullmatch(stored):
            raise _damaged(path, "it has no hash")
        place = raw.find(_hash_entry(stored))
        if place < 0 or _digest(file, size, raw.replace(_hash_entry(stored), _ZEROS)) != stored:
            raise _damaged(path, "its bytes do not fit its hash")
        return dict(header)


def _check_kind(path: Path, found: str | None, kind: str) -> bool:
    """Refuses files of other kinds; returns whether the file is of version 1, without a hash."""
    if found == kind:
        return found.endswith("/1")
    name, _, version = kind.rpartition("/")
    if name and found == f"{name}/1":
        return True
    if name and found and re.fullmatch(re.escape(name) + r"/[0-9]{1,9}", found):
        raise CheckpointError(
            f"{path} is of version {found.rpartition('/')[2]} and this package reads versions up "
            f"to {version}; update irllrec_pyg."
        )
    raise CheckpointError(
        f"{path} is not a file of kind {kind!r}, but {repr(found) if found else 'something else'}."
    )


def _containers(header: bytes) -> int:
    return header.count(b"[") + header.count(b"{")


def _hash_entry(digest: str) -> bytes:
    # Within a text of the header, quotes have backslashes before them: this is found once.
    return f'"blake2b":"{digest}"'.encode()


_ZEROS = _hash_entry(_UNHASHED)


def _write_hash(path: Path) -> str:
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        raw = file.read(size)
        count = raw.count(b'"data_offsets"')
        inside = _containers(raw)
        if size > MAX_HEADER or count > MAX_TENSORS or inside > MAX_CONTAINERS:
            raise ValueError(
                f"A checkpoint must have at most {MAX_TENSORS} tensors, {MAX_HEADER} bytes of "
                f"metadata and {MAX_CONTAINERS} lists and mappings in them, got {count}, {size} "
                f"and {inside}."
            )
        digest = _digest(file, size, raw)
        file.seek(8 + raw.index(_ZEROS))
        file.write(_hash_entry(digest))
    return digest


def _digest(file: BinaryIO, size: int, header: bytes) -> str:
    digest = hashlib.blake2b(size.to_bytes(8, "little") + header, digest_size=32)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _damaged(path: Path, cause: object) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged ({cause}): it was cut off while it was copied, or changed since it "
        "was written. Delete it, or put a complete copy in its place."
    )


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
    load_weights(model, path, heads=bool(config.heads) or "model" not in metadata)
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
        CheckpointError: If the file is damaged, or the weights are not those of such a model,
            which is then left as it was.
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
        own, wanted = state[name], expected[name]
        if own.shape != wanted.shape or own.is_floating_point() != wanted.is_floating_point():
            raise ValueError(
                f"{name!r} must be {wanted.dtype} of shape {tuple(wanted.shape)}, got {own.dtype} "
                f"of shape {tuple(own.shape)}."
            )
        if not _finite(own):
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
        raise _damaged(Path(path), error) from error
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
