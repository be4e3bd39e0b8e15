"""Lightning checkpoints without pickle."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import CheckpointIO
from torch import Tensor

from ..checkpoint import CheckpointError, read_tensors, write_tensors
from .settings import differences

KIND = "irllrec_pyg.training/1"


class SafetensorsIO(CheckpointIO):
    """Keeps the state of a training run in one safetensors file, for ``Trainer(plugins=[...])``.

    Tensors stand in the file as tensors and everything else as JSON, and come back exactly. A file
    is replaced in one step, so that a run that is killed leaves the last one behind.

    Args:
        settings (mapping, optional): What the run depends on, see
            :func:`irllrec_pyg.training.describe`. Written into each file; a file with other
            settings is refused. (default: nothing is checked)
    """

    def __init__(self, settings: Mapping[str, Any] | None = None) -> None:
        self.settings = None if settings is None else dict(settings)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Writes Lightning's checkpoint.

        Raises:
            TypeError: If a callback's state is neither tensor nor JSON; it is named.
        """
        tensors: dict[str, Tensor] = {}
        structure = _pack(checkpoint, "", tensors)
        write_tensors(
            Path(path), tensors, {"structure": structure, "settings": self.settings}, KIND
        )

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
        if self.settings is not None and metadata["settings"] is not None:
            check_settings(metadata["settings"], self.settings, path)
        checkpoint: dict[str, Any] = _unpack(metadata["structure"], tensors)
        return checkpoint

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Deletes a checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)


def check_settings(
    stored: Mapping[str, Any], current: Mapping[str, Any], path: str | os.PathLike[str]
) -> None:
    """Refuses to go on with what was begun with other settings.

    Raises:
        CheckpointError: If a setting differs; the first ones are named.
    """
    if found := differences(stored, current):
        more = f", and {len(found) - 5} more" if len(found) > 5 else ""
        raise CheckpointError(
            f"{path} was written with other settings: {'; '.join(found[:5])}{more}. Use another "
            "folder, or resume=False to start over."
        )


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


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_unpack(item, tensors) for item in content)
    return {key: _unpack(item, tensors) for key, item in content}


__all__ = ["CheckpointError", "SafetensorsIO", "check_settings"]
