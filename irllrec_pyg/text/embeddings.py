r"""The fourth step: texts to embeddings, in the published files and in a data set."""

import copy
import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch_geometric.data import HeteroData
from tqdm import tqdm

from ..datasets.base import read_only
from ..datasets.formats import EMBEDDINGS
from ..datasets.writing import write_published
from ..files import atomic_path, reserve
from .encoding import Encoder, TextsToVectors, as_encoder
from .fallbacks import Origin, fill_missing
from .folder import PipelineError
from .imports import import_files
from .pipeline import TextPipeline
from .prompts import StepName
from .source import Side, split_hash
from .store import Store

SIDES: tuple[Side, Side] = ("user", "item")
STEP: dict[tuple[str, Side], StepName] = {
    ("x", "user"): "user_profile",
    ("x", "item"): "item_profile",
    ("intent", "user"): "user_intent",
    ("intent", "item"): "item_intent",
}
#: Texts that are held in memory at once.
BLOCK = 8192
Vectors = NDArray[np.float32]


@dataclass
class Embedder:
    r"""Embeds the profiles (``x``) and the intent texts (``intent``) of all nodes.

    Nodes without a generated text take a text from their attributes, nodes without these the mean
    of their training neighbours' embeddings; :attr:`origins` says which. The embeddings are
    memory-mapped files, ``embeddings/x_user.npy`` and so on, in the pipeline's folder.

    Args:
        pipeline (TextPipeline): The texts.
        encoder (Encoder): For the profiles: whatever has ``name`` and ``encode(texts)``.
        intent_encoder (Encoder, optional): For the intent texts.
            (default: ``None``, the same one)
        normalize (bool): Scale every embedding to length 1, as the published ones are.
            (default: ``True``)
        allow_incomplete (bool): Embed although nodes are still to be asked for.
            (default: ``False``)
        progress (bool): Show a bar. (default: ``True``)
        half (bool): Write float16, half the size. (default: ``False``, float32)
    """

    pipeline: TextPipeline
    encoder: TextsToVectors
    intent_encoder: TextsToVectors | None = None
    normalize: bool = True
    allow_incomplete: bool = False
    progress: bool = True
    half: bool = False

    def __post_init__(self) -> None:
        encoders = {"x": self.encoder, "intent": self.intent_encoder or self.encoder}
        self.encoders = {field: as_encoder(found) for field, found in encoders.items()}
        self._type = np.float16 if self.half else np.float32
        self.origins: dict[str, dict[Side, list[Origin | None]]] = {}
        self._vectors: dict[str, dict[Side, NDArray[Any]]] = {}

    def embed(self) -> dict[str, dict[Side, NDArray[Any]]]:
        r"""The embeddings by field and side.

        Raises:
            PipelineError: If a step is incomplete.
        """
        if not self._vectors:
            if not self.allow_incomplete:
                self.pipeline.check_complete(STEP.values())
            with self.pipeline.claim():
                self._vectors = {field: self._embed_field(field) for field in EMBEDDINGS}
        return self._vectors

    def attach(self, data: HeteroData) -> HeteroData:
        r"""Puts the embeddings into a data set, in place, as float32.

        Raises:
            PipelineError: If it is not the data set that the texts were made for.
        """
        return self._attach(data, np.float32)

    def write(self, data: HeteroData, folder: str | Path | None = None) -> Path:
        r"""Writes the published layout: splits, the owner's ids, embeddings, profiles.

        Args:
            data (HeteroData): The data set, for its splits.
            folder (str or pathlib.Path, optional): Where to. (default: ``None``, ``raw`` in
                the pipeline's folder, so that ``IRLLRecDataset(parent, folder_name)`` reads it)
        """
        complete = self._attach(copy.copy(data), self._type)
        raw = Path(folder) if folder is not None else self.pipeline.folder / "raw"
        profiles = {
            side: {
                node: {"profile": text, "reasoning": str(answer.get("reasoning", ""))}
                for node, (text, _, answer) in enumerate(self.pipeline.all_texts(STEP["x", side]))
            }
            for side in SIDES
        }
        write_published(complete, raw, (profiles["user"], profiles["item"]))
        for side in SIDES:
            with (
                atomic_path(self.pipeline.folder / f"{side}_texts.csv") as path,
                open(path, "w", encoding="utf-8", newline="") as file,
            ):
                names = (side, "node", "profile", "profile_from", "intent", "intent_from")
                csv.writer(file).writerows([names, *self._table(side)])
        return raw

    def counts(self) -> dict[str, dict[str, int]]:
        """How many embeddings came from where; for the manifest."""
        return {
            f"{field} of {side}s": dict(Counter(map(str, origins)))
            for field, sides in self.origins.items()
            for side, origins in sides.items()
        }

    def _table(self, side: Side) -> Iterator[tuple[Any, ...]]:
        """Every node's texts and where they and the embeddings are from; for reading."""
        texts = (self.pipeline.all_texts(STEP[field, side]) for field in EMBEDDINGS)
        for node, (profile, intent) in enumerate(zip(*texts, strict=True)):
            origin = [self.origins[field][side][node] for field in EMBEDDINGS]
            raw = self.pipeline.source.raw_id(side, node)
            yield raw, node, profile[0], origin[0], intent[0], origin[1]

    def _attach(self, data: HeteroData, kind: Any) -> HeteroData:
        if split_hash(data) != self.pipeline.source.split_hash:
            raise PipelineError(
                "This data set has another split than the one the texts were made from."
            )
        for field, sides in self.embed().items():
            for side, vectors in sides.items():
                data[side][field] = torch.from_numpy(vectors.astype(kind, copy=kind != self._type))
        if "missing" in data:
            data["missing"] = {
                k: text for k, text in data["missing"].items() if k not in EMBEDDINGS
            }
            if not data["missing"]:
                del data["missing"]
        return data

    def _embed_field(self, field: str) -> dict[Side, NDArray[Any]]:
        pipeline, encoder = self.pipeline, self.encoders[field]
        texts = {side: lambda side=side: pipeline.all_texts(STEP[field, side]) for side in SIDES}
        first = list(islice((text for side in SIDES for text, *_ in texts[side]() if text), 1))
        if not first:
            raise ValueError(
                "No user and no item has a text: the items table needs titles, "
                "descriptions or attributes."
            )
        width = embed(pipeline.store, encoder, first).shape[1]
        origins: dict[Side, list[Origin | None]] = {side: [] for side in SIDES}
        rows: dict[Side, np.memmap[Any, Any]] = {}
        with ExitStack() as stack:
            for side in SIDES:
                nodes, step = pipeline.source.num_nodes(side), STEP[field, side]
                path = stack.enter_context(atomic_path(self._path(field, side)))
                rows[side] = open_memmap(path, "w+", self._type, (nodes, width))
                reserve(path)
                bar = tqdm(total=nodes, desc=f"embedding {step}", disable=not self.progress)
                waiting = texts[side]()
                while part := list(islice(waiting, BLOCK)):
                    given = [at for at, (text, *_) in enumerate(part, len(origins[side])) if text]
                    found = embed(pipeline.store, encoder, [text for text, *_ in part if text])
                    rows[side][given] = self._scaled(found)
                    origins[side] += [origin for _, origin, _ in part]
                    bar.update(len(part))
                bar.close()
            for side, lost in fill_missing(pipeline.source, rows, origins).items():
                rows[side][lost] = self._scaled(rows[side][lost])
                rows[side].flush()
        self.origins[field] = origins
        # Read where they are; what is written to them is not written to the file.
        return {side: np.load(self._path(field, side), mmap_mode="c") for side in SIDES}

    def _path(self, field: str, side: Side) -> Path:
        return self.pipeline.folder / "embeddings" / f"{field}_{side}.npy"

    def _scaled(self, rows: Vectors) -> Vectors:
        return unit_length(rows) if self.normalize else rows


def embed(store: Store, encoder: Encoder, texts: list[str]) -> Vectors:
    r"""Embeddings of texts, none of them empty; each is embedded once, and kept by its SHA-256.

    Args:
        store (Store): Where they are kept; claimed.
        encoder (Encoder): What embeds.
        texts (list of str): The texts.

    Shapes:
        - **output:** float32 of shape :math:`(N, T)`, in the order of the texts; :math:`(0, 0)`
          where nothing was ever embedded.
    """
    if missing := store.missing(encoder.name, texts):
        encoder.encode(missing, lambda batch, rows: store.add_vectors(encoder.name, batch, rows))
    return store.vectors(encoder.name, texts)


def unit_length(rows: Vectors) -> Vectors:
    r"""Vectors scaled to length 1; zeros stay zeros."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


def unit_vectors(encoder: Encoder, texts: list[str], folder: str) -> Vectors:
    r"""Embeddings of length 1, zeros for empty texts.

    They are kept by :func:`embed` in ``folder/embeddings`` or, where that may not be
    written, in the user's own cache. Processes wait for each other and do not embed the same texts.

    Args:
        encoder (Encoder): What embeds.
        texts (list of str): The texts.
        folder (str): The folder that the embeddings belong to.

    Shapes:
        - **output:** float32 of shape :math:`(N, T)`.
    """
    given = [text for text in texts if text]
    folders = [Path(folder, "embeddings"), Path(pooch.os_cache("irllrec_pyg"), "embeddings")]
    for place in folders:
        try:
            with closing(Store(place / "embeddings.sqlite")) as store, store.claim(wait=True):
                import_files(store, place.parent)
                rows = embed(store, encoder, given)
            break
        except OSError as error:
            if not read_only(error) or place == folders[-1]:
                raise
    result = np.zeros((len(texts), rows.shape[1]), np.float32)
    result[[bool(text) for text in texts]] = unit_length(rows)
    return result
