"""A run's folder as a row."""

import hashlib
import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from ..config import ConfigError
from ..model_folder import CARD_FILE, CONFIG_FILE, MODEL_FILE, ORIGIN_FILE, RESULT_FILE, read_json
from ..ranker_file import IDS, read_ids
from ..runs import USERS_FILE, RunConfig
from ..study.arms import named, read_arms
from ..tensor_file import CheckpointError
from .apart import flat
from .reading import Curve, Row, Source, Value, numbers

HELD_OUT = ("train", "val", "test")  # rows with the same hashes of these may be compared


def read_run(folder: Path) -> Source:
    """Reads a folder that ``irllrec train`` wrote.

    Raises:
        ConfigError: If its description is wrong.
        CheckpointError: If a file is damaged; it is named.
    """
    config = RunConfig.load(folder / CONFIG_FILE)
    result = read_json(folder / RESULT_FILE)
    if not any(result.get(split, True) for split in ("test", "validation")):
        raise ConfigError(
            f"{folder} was trained on every interaction, so that there is nothing to report; take "
            "the run whose settings it has."
        )
    origin = read_json(folder / ORIGIN_FILE) if (folder / ORIGIN_FILE).exists() else {}
    hashes = origin.get("data", {})
    if not isinstance(hashes, dict):
        raise CheckpointError(f"{folder / ORIGIN_FILE} is damaged ('data' must be hashes by name).")
    try:
        test = numbers(result.get("test"), "'test'")
        curves = [*_curves(result, config), *_trials(result)]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / RESULT_FILE} is damaged ({error}); delete it, and train again."
        ) from None
    seal, history = _read_model(folder / MODEL_FILE)
    sees = _sees_text(config, hashes)
    row = Row(
        key=_without_seed(config),
        name=folder.resolve().name,
        model=config.name,
        text="with" if sees else "none",
        values={name: Value(value) for name, value in test.items()},
        origin=[_origin(folder, config, result, origin, seal)],
        users=_users(folder, history),
        curves=curves,
        settings=flat(config.to_dict()),
    )
    known = [str(hashes[part]) for part in HELD_OUT if part in hashes]
    hidden = " and validation" if config.training.exclude_validation else ""
    split = f"split {config.data.split} of seed {config.data.seed}"
    return Source(
        data=config.data.name,
        setting=f"{split}, ranked without items of training{hidden}",
        hash=" ".join(known),
        rows=[row],
        path=folder,
        first="" if config.ranker is not None else config.training.monitor,
        settings=flat({"data": config.data.model_dump()}),
    )


def _without_seed(config: RunConfig) -> str:
    """What a run is but for its seed, as text that tells runs apart."""
    content = config.to_dict()
    for part in ("training", "ranker"):
        (content.get(part) or {}).pop("seed", None)
    return repr(content)


def _sees_text(config: RunConfig, hashes: Mapping[str, Any]) -> bool:
    """Whether its model takes texts, and the data had some."""
    candidate = read_arms(None).get(config.name) or named(config.name)
    return candidate.takes_text and (not hashes or "x" in hashes or "intent" in hashes)


def _curves(result: Mapping[str, Any], config: RunConfig) -> list[Curve]:
    """Validation and loss over the epochs."""
    history = result.get("history", [])
    monitor = config.training.monitor
    found = []
    for kind, name in ((f"validation {monitor} by epoch", monitor), ("loss by epoch", "loss")):
        points = [(float(row["epoch"]), float(row[name])) for row in history if name in row]
        if len(points) > 1:
            found.append(Curve(kind, points))
    return found


def _trials(result: Mapping[str, Any]) -> list[Curve]:
    """The best value so far over the trials of a search; of an ensemble, that of its weights."""
    searches = result.get("search") or {}
    if not searches:
        return []
    tried = list(searches.values())[-1].get("tried", [])
    values = [-np.inf if row["value"] is None else float(row["value"]) for row in tried]
    best = np.maximum.accumulate(np.array(values, float)).tolist()
    points = [(float(at), float(one)) for at, one in enumerate(best, 1) if np.isfinite(one)]
    return [Curve("best validation value by trial", points)] if len(points) > 1 else []


def _users(folder: Path, history: dict[str, int] | None) -> pd.DataFrame | None:
    """The values of each test user, with the number of the user's training interactions."""
    file = folder / USERS_FILE
    if not file.exists():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            table = pd.DataFrame({name: arrays[name] for name in arrays.files})
        table["user"] = table["user"].astype(str)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{file} is damaged ({error}); delete it, or train again into another folder."
        ) from None
    if history is not None:
        table["history"] = table["user"].map(history)
    return table


def _read_model(file: Path) -> tuple[str, dict[str, int] | None]:
    """The hash that a model's file carries, and the training interactions by user, where it says
    so; weights are not read.
    """
    if not file.exists():
        return "", None
    try:
        with safe_open(file, "pt") as stored:
            seal = str((stored.metadata() or {}).get("blake2b", ""))
            names = list(stored.keys())
            if "seen_ptr" not in names:
                return seal, None
            counts = stored.get_tensor("seen_ptr").diff().tolist()
            ids = read_ids({name: stored.get_tensor(name) for name in IDS if name in names})
            users = range(len(counts)) if ids["user_ids"] is None else ids["user_ids"]
            return seal, dict(zip(map(str, users), counts, strict=True))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged ({error}); delete it.") from None


def _origin(
    folder: Path, config: RunConfig, result: Mapping[str, Any], origin: Mapping[str, Any], seal: str
) -> dict[str, str]:
    """How a run was made, in words."""
    command = f"irllrec train --config {shlex.quote(str(folder / CONFIG_FILE))} --out ANOTHER"
    commit = str(origin.get("commit") or "not known")[:12]
    found = {
        "again by": command,
        "made by": _versions(folder / CARD_FILE),
        "commit": f"{commit} with changes" if origin.get("dirty") else commit,
    }
    found |= {f"hash of {part}": str(value) for part, value in origin.get("data", {}).items()}
    described = hashlib.sha256((folder / CONFIG_FILE).read_bytes()).hexdigest()[:16]
    found["hash of config.yaml"] = described
    if seal:
        found["hash of the model"] = seal[:16]
    seed = config.training.seed if config.ranker is None else config.ranker.seed
    found["seed"] = str(seed)
    if result.get("epochs"):
        found["epochs"] = f"{result['epochs']}, best {result.get('best_epoch')}"
    if isinstance(seconds := result.get("seconds"), int | float):
        found["seconds"] = f"{seconds:.1f}"
    return found


def _versions(card: Path) -> str:
    """What the card says that the model was made by, but for the commit."""
    lines = card.read_text(encoding="utf-8").splitlines() if card.exists() else []
    made = [line for line in lines if line.startswith("irllrec_pyg ")]
    return made[0].partition(", commit")[0].rstrip(".") if made else "not stated"
