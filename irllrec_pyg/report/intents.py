"""The maps of runs' intents, as images inside the page."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from ..model_folder import CONFIG_FILE, MODEL_FILE, load_folder
from ..ranking import plot_intents
from ..runs import RunConfig


def intent_maps(folders: Iterable[Path]) -> list[tuple[str, str]]:
    """A picture for each run whose model has intents.

    Args:
        folders (iterable of Path): Of runs; others are passed over.

    Returns:
        Pairs of a title and a ``data:`` address.

    Raises:
        ImportError: Without ``pip install 'irllrec_pyg[plot]'``.
        OSError: If a data set is not there.
    """
    found = []
    for folder in folders:
        if not (folder / CONFIG_FILE).exists() or not (folder / MODEL_FILE).exists():
            continue
        config = RunConfig.load(folder / CONFIG_FILE)
        if config.ranker is not None:
            continue
        dataset = config.data.open()
        model = load_folder(folder, dataset)
        if getattr(model, "intent_vectors", lambda: None)() is None:
            continue
        image = io.BytesIO()
        figure = plot_intents(model)
        figure.savefig(image, format="png", dpi=110, metadata={"Software": None})
        address = "data:image/png;base64," + base64.b64encode(image.getvalue()).decode()
        found.append((f"Map of intents of {folder.resolve().name}", address))
    return found
