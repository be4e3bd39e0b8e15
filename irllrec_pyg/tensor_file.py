"""Files of tensors and JSON: safetensors with a hash, which can run nothing and show any change."""

import errno
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .files import atomic_path

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
    separate: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in taken:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        separate[name] = tensor
    header = {"kind": kind, "json": json.dumps(dict(metadata)), "blake2b": _UNHASHED}
    try:
        with atomic_path(path) as temporary:
            save_file(separate, temporary, header)
            return _write_hash(temporary)
    except SafetensorError as error:  # of errors that atomic_path has no advice for
        raise OSError(errno.EIO, f"Could not be written ({error})", str(path)) from error


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
        raise damaged(path, error) from error
    if not isinstance(metadata, dict):
        raise damaged(path, "its metadata is no mapping")
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
        raw = file.read(min(size, MAX_HEADER))
        if cause := _excess(size, raw) or ("it is too short" if len(raw) < max(size, 2) else ""):
            raise damaged(path, cause)
        try:
            fields = json.loads(raw)
            header = fields.get("__metadata__", {})
            texts = all(isinstance(text, str) for text in header.values())
        except (ValueError, RecursionError, AttributeError) as error:
            raise damaged(path, error) from error
        if not texts or len(fields) > MAX_TENSORS + 1:
            raise damaged(path, "its header is not that of a checkpoint")
        old = _check_kind(path, header.get("kind"), kind)
        stored = header.get("blake2b")
        if stored is None and old:
            return dict(header)
        if stored is None or not _HASH.fullmatch(stored):
            raise damaged(path, "it has no hash")
        place = raw.find(_hash_entry(stored))
        if place < 0 or _digest(file, size, raw.replace(_hash_entry(stored), _ZEROS)) != stored:
            raise damaged(path, "its bytes do not fit its hash")
        return dict(header)


def _check_kind(path: Path, found: str | None, kind: str) -> bool:
    """Refuses files of other kinds; returns whether the file is of version 1, without a hash."""
    name, _, version = kind.rpartition("/")
    if found == kind or (name and found == f"{name}/1"):
        return found.endswith("/1")
    if name and found and re.fullmatch(re.escape(name) + r"/[0-9]{1,9}", found):
        raise CheckpointError(
            f"{path} is of version {found.rpartition('/')[2]} and this package reads versions up "
            f"to {version}; update irllrec_pyg."
        )
    raise CheckpointError(
        f"{path} is not a file of kind {kind!r}, but {repr(found) if found else 'something else'}."
    )


def _excess(size: int, header: bytes) -> str:
    """What a header has too much of."""
    for count, most, what in (
        (size, MAX_HEADER, "bytes of metadata"),
        (header.count(b'"data_offsets"'), MAX_TENSORS, "tensors"),
        (header.count(b"[") + header.count(b"{"), MAX_CONTAINERS, "lists and mappings"),
    ):
        if count > most:
            return f"it has more than {most} {what}, {count}"
    return ""


def _hash_entry(digest: str) -> bytes:
    # Within a text of the header, quotes have backslashes before them: this is found once.
    return f'"blake2b":"{digest}"'.encode()


_ZEROS = _hash_entry(_UNHASHED)


def _write_hash(path: Path) -> str:
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        raw = file.read(size)
        if cause := _excess(size, raw):
            raise ValueError(f"The checkpoint {path.name} cannot be read again: {cause}.")
        digest = _digest(file, size, raw)
        file.seek(8 + raw.index(_ZEROS))
        file.write(_hash_entry(digest))
    return digest


def _digest(file: BinaryIO, size: int, header: bytes) -> str:
    digest = hashlib.blake2b(size.to_bytes(8, "little") + header, digest_size=32)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def damaged(path: Path, cause: object) -> CheckpointError:
    """What to raise for a file that cannot be used."""
    return CheckpointError(
        f"{path} is damaged ({cause}): it was cut off while it was copied, or changed since it "
        "was written. Delete it, or put a complete copy in its place."
    )


def is_finite(tensor: Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite."""
    return not tensor.dtype.is_floating_point or bool(tensor.isfinite().all())


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
        if not is_finite(given):
            raise ValueError(f"{name!r} is NaN or infinite.")
