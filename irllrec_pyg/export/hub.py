"""The layout that the mixin of huggingface_hub reads and writes."""

import json
import shutil
from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelHubMixin, snapshot_download

from ..model_folder import (
    CARD_FILE,
    CONFIG_FILE,
    ITEMS_FILE,
    MODEL_FILE,
    ORIGIN_FILE,
    RESULT_FILE,
    load_folder,
    save_folder,
)
from ..ranker_file import KIND
from ..ranking import Ranker

FILES = (MODEL_FILE, ITEMS_FILE, CONFIG_FILE, RESULT_FILE, ORIGIN_FILE, CARD_FILE)


class HubRanker(ModelHubMixin, library_name="irllrec_pyg"):
    """A model with ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``.

    What is sent holds the ids and the interactions that the model was made of.

    Args:
        ranker (Ranker): The model.
        folder (str or Path, optional): Where :func:`save_folder` wrote it, with its metrics and its
            description, which are then handed on too. (default: ``None``)

    Example:
        >>> _ = HubRanker(EASE(data)).save_pretrained("hub")
        >>> HubRanker.from_pretrained("hub").ranker.recommend(7, k=2)["rank"].tolist()
        [1, 2]
    """

    def __init__(self, ranker: Ranker, folder: str | Path | None = None) -> None:
        self.ranker, self.folder = ranker, folder

    def _save_pretrained(self, save_directory: Path) -> None:
        if self.folder is None:
            save_folder(self.ranker, save_directory)
        else:
            for name in FILES:
                if (file := Path(self.folder, name)).exists():
                    shutil.copyfile(file, save_directory / name)
        about = {
            "library_name": "irllrec_pyg",
            "format": KIND,
            "model": type(self.ranker).__name__,
            "num_users": self.ranker.num_users,
            "num_items": self.ranker.num_items,
        }
        (save_directory / "config.json").write_text(json.dumps(about, indent=2), encoding="utf-8")

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **settings: Any,
    ) -> Self:
        folder = model_id
        if not Path(model_id).is_dir():
            folder = snapshot_download(
                model_id,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
                allow_patterns=[*FILES, "config.json"],
            )
        return cls(load_folder(folder), folder)


def write(ranker: Ranker, folder: Path, source: str | Path | None = None) -> dict[str, Any]:
    """Writes ``config.json``, the card, the model, its items and, from a run's folder, its
    description and metrics.

    Args:
        ranker (Ranker): The model.
        folder (Path): Where they go.
        source (str or Path, optional): The folder that it was loaded from. (default: ``None``)
    """
    HubRanker(ranker, source).save_pretrained(folder)
    return {"layout": KIND}
