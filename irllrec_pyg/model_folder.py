"""A model as one folder: weights, items, description, metrics, and a card for people."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import pandas as pd
from torch_geometric.data import HeteroData

from .checkpoint import load_model, load_ranker, save_ranker
from .config import ConfigError, read_yaml, write_yaml
from .datasets.base import GraphDataset
from .datasets.tables import read_table
from .files import atomic_path, write_text
from .model_card import card
from .nn.embedding_recommender import EmbeddingRecommender
from .nn.features import MissingTextError
from .ranking import Ranker
from .tensor_file import CheckpointError

MODEL_FILE, ITEMS_FILE, CARD_FILE = "model.safetensors", "items.csv.gz", "README.md"
CONFIG_FILE, RESULT_FILE, ORIGIN_FILE = "config.yaml", "result.json", "provenance.json"
Found = TypeVar("Found")


def save_folder(
    ranker: Ranker,
    path: str | Path,
    items: pd.DataFrame | None = None,
    config: Mapping[str, Any] | None = None,
    result: Mapping[str, Any] | None = None,
) -> Path:
    """Saves a model of any kind so that it can be handed on.

    Each file is there completely or not at all, the model after its items and the result last.

    Args:
        ranker (Ranker): The model; see :func:`irllrec_pyg.checkpoint.save_ranker`.
        path (str or Path): The folder, made where it is missing.
        items (DataFrame, optional): A row an item, with its id as ``item``; the titles that lists
            and explanations show, the columns that filters ask for. (default: ``ranker.items``)
        config (mapping, optional): Its description, as :meth:`RunConfig.to_dict` gives it.
            (default: nothing)
        result (mapping, optional): ``test`` and ``validation``, metrics by name, and whatever JSON
            can hold. (default: nothing)

    Returns:
        The folder.

    Raises:
        ValueError: If the model cannot be saved, or the items have no column ``item``.
        OSError: Where a file cannot be written, for want of space or permission; names it.
    """
    folder = Path(path)
    if items is None and ranker.item_table is not None:
        items = ranker.item_table.rename_axis("item").reset_index()
    if items is not None:
        write_items(folder, items)
    if config is not None:
        write_yaml(folder / CONFIG_FILE, config)
    save_ranker(ranker, folder / MODEL_FILE)
    write_card(folder, ranker, config, result)
    if result is not None:
        write_text(folder / RESULT_FILE, json.dumps(result, indent=1))
    return folder


def load_folder(path: str | Path, dataset: GraphDataset | None = None) -> Ranker:
    """Loads a model of :func:`save_folder`, or of a run, without data, texts or network.

    It recommends as it did. What needs more says so: metrics need the test interactions of the data
    set, new items and reasons by words the encoder of its texts, reasons by intents its texts.

    Args:
        path (str or Path): The folder.
        dataset (GraphDataset, optional): The data set, for what needs it. (default: ``None``)

    Returns:
        The ranker, with the table of its items as ``item_table`` where one was kept; columns of
        numbers, and those of true and false, are such there.

    Raises:
        FileNotFoundError: If there is no model; the message says how there will be one.
        CheckpointError: If a file is damaged.
    """
    folder = Path(path)
    if not (folder / MODEL_FILE).exists():
        raise FileNotFoundError(_why_none(folder))
    ranker = _load(folder / MODEL_FILE, None if dataset is None else cast(HeteroData, dataset[0]))
    if hasattr(dataset, "embed_items"):
        ranker.text_encoder = dataset
    if (folder / ITEMS_FILE).exists():
        ranker.item_table = read_table(folder / ITEMS_FILE, ["item"])
    return ranker


def _load(file: Path, data: HeteroData | None) -> Ranker:
    """A trained model as it was built, where it can be without texts, else what is left of it."""
    ranker = load_ranker(file)
    if not isinstance(ranker, EmbeddingRecommender):
        return ranker
    try:
        model = load_model(file, data)
    except (CheckpointError, MissingTextError):
        if data is not None:
            raise
        return ranker
    model.info = ranker.info
    return model


def _why_none(folder: Path) -> str:
    if not folder.is_dir():
        return f"There is no folder {folder}; 'irllrec train --out {folder}' makes it."
    if (folder / CONFIG_FILE).exists():
        return (
            f"{folder} holds a run that is not finished; it goes on with 'irllrec train --config "
            f"{folder / CONFIG_FILE}'."
        )
    return f"{folder} holds no model: there is no {MODEL_FILE}, as 'irllrec train' writes it."


def write_items(folder: Path, items: pd.DataFrame) -> None:
    """Writes the table of the items."""
    if "item" not in items:
        raise ConfigError(f"'items' must have a column 'item', got {', '.join(map(str, items))}.")
    with (
        atomic_path(folder / ITEMS_FILE) as temporary,
        temporary.open("wb") as file,
        # Without name and time, so that the same table is the same file.
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
    ):
        items.to_csv(packed, index=False)


def write_card(
    folder: Path,
    ranker: Ranker,
    config: Mapping[str, Any] | None = None,
    result: Mapping[str, Any] | None = None,
) -> None:
    """Writes what a person should know of the model, in Markdown."""
    origin = folder / ORIGIN_FILE
    has_items = (folder / ITEMS_FILE).exists()
    known = read_json(origin) if origin.exists() else {}
    write_text(folder / CARD_FILE, card(ranker, config or {}, result or {}, known, has_items))


def read_config(folder: Path, read: Callable[[dict[str, Any]], Found]) -> Found:
    """Reads the description of a run from its folder.

    Args:
        folder (Path): The folder.
        read (callable): What makes something of the settings, such as ``RunConfig.read``.

    Raises:
        ConfigError: If there is none, or it is damaged; says how there will be one.
    """
    file = folder / CONFIG_FILE
    if not file.exists():
        raise ConfigError(
            f"{folder} is no run: there is no {CONFIG_FILE}, as 'irllrec train' writes."
        )
    try:
        return read(read_yaml(file))
    except ConfigError as error:
        where = "" if str(file) in str(error) else f"{file}: "
        raise ConfigError(
            f"{where}{error} Put the file back, or delete it and give the run's whole 'irllrec "
            "train' command again, which writes it anew."
        ) from None


def read_json(path: Path, fields: Sequence[str] = ()) -> dict[str, Any]:
    """Reads a JSON file of fields.

    Args:
        path (Path): The file.
        fields (sequence of str, optional): Those that it must have. (default: none)

    Raises:
        CheckpointError: If it is damaged, or a field is missing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no fields")
        if missing := [name for name in fields if name not in content]:
            raise ValueError(f"it has no field {missing[0]!r}")
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it.") from None
    return content
