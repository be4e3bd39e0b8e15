r"""What earlier versions kept in many files, put into the one store; done once for a folder."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .answers import read_json
from .database import StoreError
from .store import Store

#: The pipeline's one file.
STORE = "texts.sqlite"
#: Names of the setting, and of the file that held it.
FILES = {"options": "settings.json", "split": "split.json"}
KEY_BYTES = 32


def open_store(folder: Path) -> Store:
    """The store of a pipeline's folder; before it is claimed, what files of old say."""
    store = Store(folder / STORE)
    if not store.exists:
        import_files(store, folder)
    return store


def import_files(store: Store, folder: Path) -> None:
    r"""Reads the journals, batches, embeddings and settings of a folder; leaves them as they are.

    A damaged line of a journal is left out with a warning: its request is made again.

    Args:
        store (Store): What takes them; nothing is done where it took them before.
        folder (pathlib.Path): The pipeline's folder.

    Raises:
        StoreError: If there are answers without the record of their split, or a file is damaged.
    """
    journals = sorted((folder / "journal").glob("*.jsonl"))
    if store.get("imported"):
        return
    if journals and not (folder / FILES["split"]).exists():
        raise StoreError(
            f"{folder / FILES['split']} is missing, which says what split the answers in "
            f"{journals[0].parent} were made from: put it back, or use another folder."
        )
    with store.transaction():
        for name, file in FILES.items():
            if (folder / file).exists():
                store.set(name, read_json(folder / file))
        for path in journals:
            _import_journal(store, path)
        for path in sorted((folder / "batch").glob("*.json")):
            _import_batches(store, path)
        import_rows(store, folder / "embeddings")
        # So many are known of; the next run says how many there are.
        store.set("nodes", dict(store.rows("SELECT step, max(node) + 1 FROM nodes GROUP BY step")))
        store.set("imported", True)


def import_rows(store: Store, folder: Path) -> None:
    """Reads the embeddings that stand in a folder, a file of rows for each encoder."""
    for path in sorted(folder.glob("*.rows")):
        with open(path, "rb") as file:
            header = file.readline()
            if not header.endswith(b"\n"):
                continue  # it was torn before anything stood in it
            try:
                found = json.loads(header)
                name, width = str(found["encoder"]), int(found["width"])
            except (ValueError, KeyError, TypeError):
                raise StoreError(f"{path} is not a store of embeddings; delete it.") from None
            row = np.dtype([("key", f"V{KEY_BYTES}"), ("vector", "<f4", (width,))])
            # What a crash tore at the end is no whole row.
            while len(part := file.read(4096 * row.itemsize)) >= row.itemsize:
                rows = np.frombuffer(part[: len(part) - len(part) % row.itemsize], row)
                store.add_vectors(name, [bytes(key) for key in rows["key"]], rows["vector"])


def _import_journal(store: Store, path: Path) -> None:
    for line in _lines(path):
        known = store.answer(line["key"])
        if known is None or known["kind"] != "ok":
            left_out = {"key", "node", "step", "status", "shared"}
            store.put(line["key"], {name: line[name] for name in line.keys() - left_out})
        if not line.get("shared"):
            store.spend(path.stem, line)
        store.note(path.stem, line["node"], line["key"], line["kind"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as file:
        for number, text in enumerate(file, 1):
            try:
                line = json.loads(text)
                line["key"], line["node"] = bytes.fromhex(line["key"]), int(line["node"])
                line["kind"] = "ok" if line["status"] == "ok" else str(line["kind"])
            except (ValueError, TypeError, KeyError):
                warnings.warn(
                    f"Line {number} of {path} is damaged: its request is made again.", stacklevel=2
                )
            else:
                yield line


def _import_batches(store: Store, path: Path) -> None:
    for part in read_json(path)["parts"]:
        status = "collected" if part["collected"] else part["status"]
        name, batch = str(part["file"]), part["batch"]
        store.run(
            "INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?, ?)",
            *(name, path.stem, part["sha256"], batch, status, part.get("error")),
        )
        for key, nodes in part["nodes"].items():
            store.run("INSERT OR IGNORE INTO batch_keys VALUES (?, ?)", name, bytes.fromhex(key))
            if not part["collected"]:
                for node in nodes:
                    store.note(path.stem, node, bytes.fromhex(key), "batch")
