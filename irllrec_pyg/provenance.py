"""What results come from: the commit, the data and the values of each user."""

import filecmp
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from .edges import EDGE_TYPE, SPLITS
from .files import atomic_path, write_text


def provenance(data: HeteroData, folder: Path | None = None) -> dict[str, Any]:
    r"""What a result comes from, for its row in ``results.json``.

    Args:
        data (HeteroData): The graph.
        folder (Path, optional): The run's folder. What its first command left there in
            ``provenance.json`` is kept while the data is the same: a run that is only read again
            was not made by today's code. (default: ``None``)

    Returns:
        ``commit``: of the repository, or ``None`` outside a git checkout. ``dirty``: whether the
        code that runs differs from it. ``data``: for the pairs of each split, and for ``x`` and
        ``intent`` where there are any, the first 16 digits of a SHA-256.
    """
    found = {**checkout(), "data": hashes(data)}
    if folder is None:
        return found
    file = folder / "provenance.json"
    if file.exists():
        first: dict[str, Any] = json.loads(file.read_text())
        if first["data"] == found["data"]:
            return first
    write_text(file, json.dumps(found) + "\n")
    return found


def checkout(root: Path = Path(__file__).parents[1]) -> dict[str, Any]:
    r"""The commit that is checked out, and whether the code that runs differs from it."""

    def git(*arguments: str) -> str:
        # Else git would write its index, and leave a lock behind where it is killed.
        command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "setup.cfg")  # not a copy inside another repository
        commit, changed = git("rev-parse", "HEAD"), git("status", "-s", "*.py", "*.yaml")
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    package = Path(__file__).parent  # may be installed elsewhere, from something else
    files = [str(file.relative_to(package)) for file in package.rglob("*.py")]
    alike = filecmp.cmpfiles(package, root / "irllrec_pyg", files, shallow=False)[0]
    return {"commit": commit, "dirty": bool(changed) or len(alike) < len(files)}


def hashes(data: HeteroData) -> dict[str, str]:
    r"""A hash for each part of the data that a result depends on; the order of pairs is none."""
    rates = data[EDGE_TYPE]
    parts = {
        split: rates[name].cpu().numpy()
        for split, name in {"train": "edge_index", **SPLITS}.items()
        if name in rates
    }
    parts = {split: pairs[:, np.lexsort(pairs[::-1])] for split, pairs in parts.items()}
    found = {split: _hash(torch.from_numpy(pairs)) for split, pairs in parts.items()}
    for name in ("x", "intent"):
        texts = [data[kind][name] for kind in ("user", "item") if name in data[kind]]
        if texts:
            found[name] = _hash(*texts)
    return found


def _hash(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        if tensor.numel():  # numpy strides empty arrays in a way that cannot be read as bytes
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def write_users(table: pd.DataFrame, path: Path, folder: Path) -> dict[str, str]:
    r"""Writes the values of each user as a compressed ``.npz``: ``user`` holds the owner's ids, and
    each metric's array the values in float32.

    Args:
        table (DataFrame): Of ``evaluate_users``.
        path (Path): The file.
        folder (Path): Where ``results.json`` is.

    Returns:
        ``file``: the path from ``results.json``, and ``sha256`` of the file.
    """
    ids = table["user"].to_numpy()
    columns: dict[str, Any] = {
        str(name): table[name].to_numpy(np.float32 if name != "user" else None) for name in table
    }
    columns["user"] = ids.astype(str) if ids.dtype == object else ids  # no pickle
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **columns)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"file": path.relative_to(folder).as_posix(), "sha256": digest}
