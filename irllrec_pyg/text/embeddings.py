r"""The fourth step: texts to embeddings, in the published files and in a data set."""

import copy
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pooch
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch_geometric.data import HeteroData
from tqdm import tqdm

from ..datasets.base import read_only
from ..datasets.formats import EMBEDDINGS
from ..datasets.writing import write_published
from .encoders import Encoder
from .fallbacks import Origin, fill_missing
from .files import atomic
from .pipeline import PipelineError, TextPipeline
from .prompts import StepName
from .source import Side, split_hash
from .store import EmbeddingStore

SIDES: tuple[Side, Side] = ("user", "item")
STEP: dict[tuple[str, Side], StepName] = {
    ("x", "user"): "user_profile",
    ("x", "item"): "item_profile",
    ("intent", "user"): "user_intent",
    ("intent", "item"): "item_intent",
}
Vectors = NDArray[np.float32]


class Embedder:
    r"""Embeds the profiles (``x``) and the intent texts (``intent``) of all nodes.

    Nodes without a generated text take a text from their attributes, nodes without these the mean
    of their training neighbours' embeddings; :attr:`origins` says which.

    Args:
        pipeline (TextPipeline): The texts.
        encoder (Encoder): For the profiles.
        intent_encoder (Encoder, optional): For the intent texts.
            (default: ``None``, the same one)
        normalize (bool): Scale every embedding to length 1, as the published ones are.
            (default: ``True``)
        allow_incomplete (bool): Embed although nodes are still to be asked for.
            (default: ``False``)
        progress (bool): Show a bar. (default: ``True``)
    """

    def __init__(
        self,
        pipeline: TextPipeline,
        encoder: Encoder,
        intent_encoder: Encoder | None = None,
        normalize: bool = True,
        allow_incomplete: bool = False,
        progress: bool = True,
    ) -> None:
        self.pipeline, self.normalize, self._progress = pipeline, normalize, progress
        self.encoders: dict[str, Encoder] = {"x": encoder, "intent": intent_encoder or encoder}
        self._allow_incomplete = allow_incomplete
        self.origins: dict[str, dict[Side, list[Origin | None]]] = {}
        self._vectors: dict[str, dict[Side, Vectors]] = {}

    def embed(self) -> dict[str, dict[Side, Vectors]]:
        r"""The embeddings by field and side.

        Raises:
            PipelineError: If a step is incomplete.
        """
        if not self._vectors:
            if not self._allow_incomplete:
                self.pipeline.check_complete(STEP.values())
            self.pipeline.claim_folder()
            for field in EMBEDDINGS:
                self._vectors[field] = self._embed_field(field)
        return self._vectors

    def attach(self, data: HeteroData) -> HeteroData:
        r"""Puts the embeddings into a data set, in place.

        Raises:
            PipelineError: If it is not the data set that the texts were made for.
        """
        self._check(data)
        for field, sides in self.embed().items():
            for side, vectors in sides.items():
                data[side][field] = torch.from_numpy(vectors.copy())
        if "missing" in data:
            missing = {key: text for key, text in data["missing"].items() if key not in EMBEDDINGS}
            if missing:
                data["missing"] = missing
            else:
                del data["missing"]
        return data

    def write(self, data: HeteroData, folder: str | Path | None = None) -> Path:
        r"""Writes the published layout: splits, the owner's ids, embeddings, profiles.

        Args:
            data (HeteroData): The data set, for its splits.
            folder (str or pathlib.Path, optional): Where to. (default: ``None``, ``raw`` in
                the pipeline's folder, so that ``IRLLRecDataset(parent, folder_name)`` reads it)
        """
        complete = self.attach(copy.copy(data))
        raw = Path(folder) if folder is not None else self.pipeline.folder / "raw"
        write_published(complete, raw, (self._profiles("user"), self._profiles("item")))
        for side in SIDES:
            with atomic(self.pipeline.folder / f"{side}_texts.csv") as file:
                self.table(side).to_csv(file, index=False)
        return raw

    def table(self, side: Side) -> pd.DataFrame:
        """Every node's texts and where they and the embeddings are from; for reading."""
        source, rows = self.pipeline.source, []
        for node in range(source.num_nodes(side)):
            row: dict[str, Any] = {side: source.raw_id(side, node), "node": node}
            for field, name in (("x", "profile"), ("intent", "intent")):
                row[name] = self.pipeline.text(STEP[field, side], node)[0]
                row[f"{name}_from"] = self.origins[field][side][node]
            rows.append(row)
        return pd.DataFrame(rows)

    def counts(self) -> dict[str, dict[str, int]]:
        """How many embeddings came from where; for the manifest."""
        return {
            f"{field} of {side}s": dict(Counter(str(origin) for origin in origins))
            for field, sides in self.origins.items()
            for side, origins in sides.items()
        }

    def _embed_field(self, field: str) -> dict[Side, Vectors]:
        encoder, pipeline = self.encoders[field], self.pipeline
        texts: dict[Side, list[str]] = {}
        origins: dict[Side, list[Origin | None]] = {}
        for side in SIDES:
            found = [
                pipeline.text(STEP[field, side], node)
                for node in range(pipeline.source.num_nodes(side))
            ]
            texts[side], origins[side] = [t for t, _ in found], [origin for _, origin in found]
        wanted = [text for side in SIDES for text in texts[side] if text]
        embedded = embed_texts(
            encoder, wanted, pipeline.folder / "embeddings", f"embedding {field}", self._progress
        )
        position = {text: row for row, text in enumerate(wanted)}
        result: dict[Side, Vectors] = {}
        for side in SIDES:
            rows = np.zeros((len(texts[side]), embedded.shape[1]), np.float32)
            nodes = [n for n, text in enumerate(texts[side]) if text]
            rows[nodes] = self._scaled(embedded[[position[texts[side][n]] for n in nodes]])
            result[side] = rows
        fill_missing(pipeline.source, result, origins)
        self.origins[field] = origins
        return {side: self._scaled(rows) for side, rows in result.items()}

    def _scaled(self, rows: Vectors) -> Vectors:
        return unit_length(rows) if self.normalize else rows

    def _profiles(self, side: Side) -> dict[int, dict[str, str]]:
        step, pipeline = STEP["x", side], self.pipeline
        done = pipeline.state(step).done if step in pipeline.chat else {}
        result = {}
        for node in range(pipeline.source.num_nodes(side)):
            reasoning = done[node]["answer"].get("reasoning", "") if node in done else ""
            result[node] = {"profile": pipeline.text(step, node)[0], "reasoning": str(reasoning)}
        return result

    def _check(self, data: HeteroData) -> None:
        if split_hash(data) != self.pipeline.source.split_hash:
            raise PipelineError(
                "This data set has another split than the one the texts were made from."
            )


def embed_texts(
    encoder: Encoder,
    texts: list[str],
    folder: Path,
    description: str = "embedding",
    progress: bool = True,
) -> Vectors:
    r"""Embeddings of texts, each text embedded once.

    They are kept in ``folder``, in a file for each encoder, by the text's SHA-256: what was
    embedded before a kill or for another data set is not embedded again.

    Args:
        encoder (Encoder): What embeds.
        texts (list of str): The texts; none of them empty.
        folder (pathlib.Path): Where embeddings are kept.
        description (str, optional): What the progress bar says. (default: ``"embedding"``)
        progress (bool, optional): Whether to show one. (default: ``True``)

    Shapes:
        - **output:** float32 of shape :math:`(N, T)`, in the order of the texts; :math:`(0, 0)`
          where nothing was ever embedded.

    Raises:
        JournalError: If another process is writing the file.
        OSError: If the folder cannot be written.
    """
    # The name of an encoder can hold a URL; file names cannot.
    safe = re.sub(r"[^\w.-]+", "_", encoder.name)
    store = EmbeddingStore(folder / f"{safe}.rows", encoder.name)
    missing = [text for text in dict.fromkeys(texts) if text not in store]
    if missing:
        with (
            store,
            tqdm(total=len(missing), desc=description, unit="text", disable=not progress) as bar,
        ):

            def on_batch(batch: list[str], vectors: Vectors) -> None:
                store.add(batch, vectors)
                bar.update(len(batch))

            encoder.encode([text for text in missing if text not in store], on_batch)
    return store.get(texts) if texts else np.zeros((0, store.width), np.float32)


def unit_length(rows: Vectors) -> Vectors:
    r"""Vectors scaled to length 1; zeros stay zeros."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


def unit_vectors(encoder: Encoder, texts: list[str], folder: str) -> Vectors:
    r"""Embeddings of length 1, zeros for empty texts.

    They are kept as by :func:`embed_texts` in ``folder/embeddings`` or, where that may not be
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
            place.mkdir(parents=True, exist_ok=True)
            with FileLock(place / ".lock"):
                rows = embed_texts(encoder, given, place, progress=sys.stderr.isatty())
            break
        except OSError as error:
            if not read_only(error) or place == folders[-1]:
                raise
    result = np.zeros((len(texts), rows.shape[1]), np.float32)
    result[[bool(text) for text in texts]] = unit_length(rows)
    return result
