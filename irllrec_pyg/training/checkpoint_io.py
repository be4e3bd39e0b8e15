"""Lightning checkpoints without pickle."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import CheckpointIO
from torch import Tensor

from ..tensor_file import CheckpointError, read_tensors, write_tensors
from .identity import Identity

KIND = "irllrec_pyg.training/2"
DEPTH = 50  # of structures in structures; Lightning's own checkpoints are 8 deep


class SafetensorsIO(CheckpointIO):
    """Keeps the state of a training run in one safetensors file, for ``Trainer(plugins=[...])``.

    Tensors stand in the file as tensors and everything else as JSON, and come back exactly. A file
    is replaced in one step, so that a run that is killed leaves the last one.

    Args:
        settings (Identity, optional): What the run depends on. Written into each file; a file with
            other settings is refused. (default: nothing is checked)
    """

    def __init__(self, settings: Identity | None = None) -> None:
        self.settings = settings

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Writes Lightning's checkpoint.

        Raises:
            TypeError: If a callback's state is neither tensor nor JSON; it is named.
            OSError: If the file cannot be written; the old one stays as it was.
        """
        tensors: dict[str, Tensor] = {}
        structure = _pack(checkpoint, "", tensors)
        settings = None if self.settings is None else self.settings.values
        write_tensors(Path(path), tensors, {"structure": structure, "settings": settings}, KIND)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Reads a checkpoint back, onto the CPU; Lightning moves what it needs.

        Raises:
            CheckpointError: If the file is damaged, or its settings are others.
        """
        tensors, metadata = read_tensors(Path(path), KIND)
        if self.settings is not None and metadata.get("settings") is not None:
            self.settings.check(metadata["settings"], path)
        try:
            checkpoint = _unpack(metadata.get("structure"), tensors)
            if not isinstance(checkpoint, dict):
                raise ValueError("it holds no mapping")
            if self.settings is not None:
                _check_version(checkpoint.get("pytorch-lightning_version"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is damaged: {error}. Delete it.") from error
        return checkpoint

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Deletes a checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)


def _check_version(version: Any) -> None:
    """Lightning reads it before it asks anybody what to think of the rest."""
    if not isinstance(version, str) or not re.fullmatch(
        r"\d{1,4}(\.\d{1,4}){1,2}\S{0,20}", version
    ):
        raise ValueError(f"it is of version {version!r} of Lightning")


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Turns a value into JSON and moves the tensors in it into ``tensors``."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        while name in tensors:  # keys may hold a slash themselves
            name += "'"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, (str, int)):
                raise TypeError(
                    f"The checkpoint's entry {name!r} has the key {key!r}; only "
                    "strings and numbers can be kept."
                )
        return {
            "dict": [
                [key, _pack(item, f"{name}/{key}" if name else str(key), tensors)]
                for key, item in value.items()
            ]
        }
    if isinstance(value, (list, tuple)):
        items = [_pack(item, f"{name}/{at}", tensors) for at, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    raise TypeError(
        f"The checkpoint's entry {name!r} is of type {type(value).__name__}; only "
        "tensors, numbers, strings, lists, tuples and dicts can be kept."
    )


def _unpack(value: Any, tensors: Mapping[str, Tensor], depth: int = 0) -> Any:
    """The inverse of :func:`_pack`; raises a ValueError where the structure is none of its."""
    if depth > DEPTH:
        raise ValueError(f"its structure is more than {DEPTH} deep")
    if isinstance(value, list):
        return [_unpack(item, tensors, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ValueError(f"its structure holds a node of {len(value)} kinds")
    ((kind, content),) = value.items()
    if kind == "tensor" and isinstance(content, str) and content in tensors:
        return tensors[content]
    if kind == "tuple" and isinstance(content, list):
        return tuple(_unpack(item, tensors, depth + 1) for item in content)
    if kind == "dict" and isinstance(content, list):
        unpacked: dict[str | int, Any] = {}
        for pair in content:
            if not isinstance(pair, list) or len(pair) != 2 or type(pair[0]) not in (str, int):
                raise ValueError("its structure holds a mapping that is none")
            unpacked[pair[0]] = _unpack(pair[1], tensors, depth + 1)
        if len(unpacked) != len(content):
            raise ValueError("its structure names something twice")
        return unpacked
    raise ValueError(f"its structure holds the unknown node {str(kind)[:40]!r}")
