r"""Vectors of many texts in one file that is mapped into memory, and not read."""

import hashlib
import json
import os
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from ..files import atomic_path, reserve, write_text
from ..nn.features import principal_components
from .database import size_limit
from .encoding import Encoder, EncoderError, TextsToVectors, as_encoder

CHUNK = 4096  # texts between two marks of how far it is
SAMPLE = 20_000  # rows that principal components are computed from

Halves = np.memmap[tuple[int, ...], np.dtype[np.float16]]


def encode_to_file(
    encoder: TextsToVectors,
    texts: list[str],
    path: str | os.PathLike[str],
    rank: int | None = None,
    progress: bool = True,
) -> Halves:
    r"""The vectors of texts as a ``.npy`` file of float16, mapped into memory.

    Each distinct text is embedded once. A run that was stopped goes on when it is called again with
    the same texts; a finished file is opened as it is. Beside the file a ``.json`` says what is in
    it.

    Args:
        encoder (TextsToVectors): What embeds.
        texts (list of str): The texts; an empty one has a row of zeros.
        path (str or os.PathLike): The file.
        rank (int, optional): Keep so many principal components of the vectors, as ``text_rank``
            does in models; they are those of 20,000 rows where there are more. (default: ``None``)
        progress (bool, optional): Whether to show a bar. (default: ``True``)

    Shapes:
        - **output:** float16 of shape :math:`(N, T)`, in the order of the texts.

    Raises:
        EncoderError: If a vector cannot be used, or is too large for float16.
        ValueError: If all texts are empty, or the file holds something else.
    """
    target, maker = Path(path), as_encoder(encoder)
    note = target.with_name(f"{target.name}.json")
    identity = _identity(maker.name, texts, rank)
    if target.exists():
        kept = json.loads(note.read_text("utf-8")) if note.exists() else {}
        if kept.get("identity") != identity:
            raise ValueError(
                f"{target} holds vectors of other texts or of another encoder; delete it, or take "
                "another file."
            )
        return _mapped(target)
    wide = target.with_name(f".{target.name}.wide")
    _embed(maker, texts, wide, identity, progress)
    if rank is None:
        os.replace(wide, target)
    else:
        _narrow(wide, target, rank)
        wide.unlink()
    width = _mapped(target).shape[1]
    told = {"identity": identity, "encoder": maker.name, "texts": len(texts), "width": width}
    write_text(note, json.dumps(told) + "\n")
    wide.with_name(f"{wide.name}.json").unlink(missing_ok=True)
    return _mapped(target)


def _embed(encoder: Encoder, texts: list[str], wide: Path, identity: str, progress: bool) -> None:
    """Fills a file with vectors, from where an earlier call with the same texts had come."""
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        if text:
            rows.setdefault(text, []).append(row)
    if not rows:
        raise ValueError("All texts are empty: there is nothing to embed.")
    distinct = sorted(rows, key=len, reverse=True)
    mark = wide.with_name(f"{wide.name}.json")
    done, table = 0, None
    if mark.exists() and wide.exists():
        kept = json.loads(mark.read_text("utf-8"))
        if kept["identity"] == identity:
            done, table = kept["done"], _mapped(wide, "r+")
    with tqdm(
        total=len(distinct), initial=done, desc="embedding", unit="text", disable=not progress
    ) as bar:
        for at in range(done, len(distinct), CHUNK):
            chunk = distinct[at : at + CHUNK]
            vectors = encoder.encode(chunk)
            if table is None:
                wide.parent.mkdir(parents=True, exist_ok=True)
                shape = len(texts), vectors.shape[1]
                try:
                    table = np.lib.format.open_memmap(wide, "w+", np.float16, shape)
                    reserve(wide)
                except OSError as error:  # which names no file
                    what = f"{error.strerror}{size_limit()}"
                    raise OSError(error.errno, what, str(wide)) from None
            if np.abs(vectors).max() > np.finfo(np.float16).max:
                raise EncoderError(
                    f"The encoder {encoder.name!r} gave numbers that float16 cannot hold."
                )
            places = [row for text in chunk for row in rows[text]]
            table[places] = np.repeat(vectors, [len(rows[text]) for text in chunk], axis=0)
            table.flush()
            write_text(mark, json.dumps({"identity": identity, "done": at + len(chunk)}))
            bar.update(len(chunk))


def _narrow(wide: Path, target: Path, rank: int) -> None:
    table = _mapped(wide)
    order = np.random.default_rng(0).permutation(len(table))[:SAMPLE]
    components = principal_components(
        torch.from_numpy(table[np.sort(order)].astype(np.float32)), rank
    )
    shape = len(table), components.directions.size(1)
    with atomic_path(target) as temporary:
        narrow = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
        reserve(temporary)
        for at in range(0, len(table), CHUNK):
            part = torch.from_numpy(table[at : at + CHUNK].astype(np.float32))
            narrow[at : at + CHUNK] = components.project(part).numpy()
        narrow.flush()


def _mapped(path: Path, mode: Literal["r", "r+"] = "r") -> Halves:
    return np.load(path, mmap_mode=mode)  # type: ignore[no-any-return]


def _identity(name: str, texts: list[str], rank: int | None) -> str:
    digest = hashlib.sha256(json.dumps([name, rank]).encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "replace")).digest())
    return digest.hexdigest()
