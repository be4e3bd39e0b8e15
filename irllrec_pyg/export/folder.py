"""A folder of an export: all of its files or none."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..config import ConfigError
from ..files import sync
from ..ranking import Ranker

MANIFEST = "export.json"
#: Format -> (module with ``write(ranker, folder, **options) -> fields of the manifest``, the extra
#: that it needs, one line of help).
FORMATS: dict[str, tuple[str, str, str]] = {
    "parquet": (".parquet", "export", "tables, ids with vectors, and the list of every user"),
    "faiss": (".faiss", "index", "an index of faiss, with the items' ids in its order"),
    "onnx": (".onnx", "export", "a graph from users' vectors, or histories, to lists"),
    "hub": (".hub", "export", "the layout of huggingface_hub; nothing is sent"),
}


def export(ranker: Ranker, path: str | Path, to: str, **options: Any) -> dict[str, Any]:
    """Writes a model in the format of other tools into a folder, all files or none.

    Args:
        ranker (Ranker): The model.
        path (str or Path): The folder; it is made anew, or holds an export, which is replaced.
        to (str): ``"parquet"``, ``"faiss"``, ``"onnx"`` or ``"hub"``.
        **options: Those of ``write`` in the module of the format.

    Returns:
        The manifest, as it stands in ``export.json``: what the model is, sizes, and the SHA-256 of
        each file.

    Raises:
        ConfigError: If the folder holds something else, or the format cannot hold such a model.
        ImportError: If a package is missing; names the extra.
        OSError: Where a file cannot be written.
    """
    if to not in FORMATS:
        raise ConfigError(f"'to' must be one of {', '.join(FORMATS)}, got {to!r}.")
    module, extra, _ = FORMATS[to]
    try:
        write = import_module(module, __package__).write
    except ImportError as error:
        raise ImportError(
            f"An export to {to} needs: pip install 'irllrec_pyg[{extra}]' ({error})."
        ) from error
    with atomic_folder(Path(path)) as folder:
        fields = write(ranker, folder, **options)
        manifest = {
            "format": to,
            "made_by": f"irllrec_pyg {__version__}",
            "model": type(ranker).__name__,
            "users": ranker.num_users,
            "items": ranker.num_items,
            **fields,
            "files": {file.name: _sha256(file) for file in sorted(folder.iterdir())},
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Gives a folder beside ``target`` that takes its name when the block ends well.

    An older export there is replaced; a process that is killed leaves the old one or the new one,
    or, between two renames, none under this name and both beside it.

    Raises:
        ConfigError: If there is something that no export wrote, which is named.
    """
    _check_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield temporary
        mask = os.umask(0)  # mkdtemp makes private folders
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        for file in temporary.iterdir():
            sync(file)
        _check_free(target)
        if target.exists():
            old = Path(mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
            os.rename(target, old / target.name)
            os.rename(temporary, target)
            shutil.rmtree(old)
        else:
            os.rename(temporary, target)
        sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(target: Path) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if target.is_symlink() or not target.is_dir():
        raise ConfigError(f"{target} is not a folder; choose another one.")
    there = {file.name for file in target.iterdir()}
    ours = {MANIFEST}
    if MANIFEST in there:
        try:
            ours |= set(json.loads((target / MANIFEST).read_text(encoding="utf-8"))["files"])
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{target / MANIFEST} is damaged; choose another folder.") from None
    if other := sorted(there - ours):
        raise ConfigError(
            f"{target} holds {other[0]!r}, which no export wrote; choose another folder."
        )


def embeddings(ranker: Ranker) -> tuple[Tensor, Tensor] | None:
    """Embeddings of users and items in float32 on the CPU, where their dot products are the
    scores.
    """
    with torch.no_grad(), ranker.ranking():
        found = ranker.embed()
    if found is None:
        return None
    users, items = (part.detach().float().cpu().contiguous() for part in found)
    return users, items


def write_ids(ranker: Ranker, side: str, path: Path) -> None:
    """Writes the owner's ids by position, as a list in JSON."""
    path.write_text(json.dumps(list(ranker.ids(side)), ensure_ascii=False), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
