"""What was chosen on held-out interactions, trained on all of them."""

import shlex
from pathlib import Path
from typing import Any

from .config import ConfigError
from .datasets.config import DataConfig
from .model_folder import CONFIG_FILE, RESULT_FILE, read_config, read_json
from .runs import RankerConfig, RunConfig
from .study.arms import named, read_arms
from .study.candidates import BlendCandidate, RerankCandidate
from .study.graph_candidates import GraphCandidate
from .tensor_file import CheckpointError

ALL = (1.0, 0.0, 0.0)  # shares of training, validation and test


def refitted(folder: str | Path, data: DataConfig | None = None) -> RunConfig:
    """The run that has what a finished run chose, and every interaction in training.

    Nothing is searched and nothing is left to stop by: a closed form or an ensemble has the
    settings and weights that were best on validation, a graph model its settings, and is trained
    for as many epochs as were best there. :func:`irllrec_pyg.run` trains it.

    Args:
        folder (str or Path): The finished run's.
        data (DataConfig, optional): Its data set, where that lies elsewhere now or is to be read
            in another way; its split does not matter. (default: as it was)

    Raises:
        ConfigError: If there is no finished run, or what it chose cannot be had without held-out
            interactions; says what to do.

    Example:
        >>> config = refitted("runs/shop")  # doctest: +SKIP
        >>> model, _ = run(config, "runs/shop-all")  # doctest: +SKIP
    """
    folder = Path(folder)
    config = read_config(folder, RunConfig.read)
    if not (folder / RESULT_FILE).exists():
        raise ConfigError(
            f"{folder} holds a run that is not finished; it goes on with: irllrec train --config "
            f"{shlex.quote(str(folder / CONFIG_FILE))}"
        )
    result = read_json(folder / RESULT_FILE)
    own = (config.data if data is None else data).replace(split="random", seed=0, shares=ALL)
    if config.ranker is not None:
        return config.replace(data=own, ranker=_chosen(config.ranker, result, folder))
    epochs = result.get("best_epoch")
    if type(epochs) is not int or epochs < 1:
        raise _damaged(folder, f"'best_epoch' is {epochs!r}")
    training = config.training.replace(epochs=epochs, eval_every=0)
    # Dot products or cosines, as was better on validation where that was the setting.
    model = config.model.replace(similarity=result.get("similarity", config.model.similarity))
    return config.replace(data=own, model=model, training=training)


def _chosen(ranker: RankerConfig, result: dict[str, Any], folder: Path) -> RankerConfig:
    """A closed form or an ensemble with the settings that were found best."""
    candidate = read_arms(None).get(ranker.name) or named(ranker.name)
    parts = candidate.parts if isinstance(candidate, BlendCandidate) else (candidate,)
    if isinstance(candidate, RerankCandidate):
        raise ConfigError(
            f"{folder}: the trees of {ranker.name!r} learn from validation interactions, of which "
            "none would be left; train the ensemble without them, such as --model tale, and refit "
            "that run."
        )
    if any(isinstance(part, GraphCandidate) for part in parts):
        raise ConfigError(
            f"{folder} is a search among trainings of a graph model, and keeps no number of "
            "epochs; train the best settings alone (irllrec train --config FOLDER/best.yaml, which "
            "'irllrec tune' writes for a single model), and refit that run."
        )
    settings = dict(ranker.settings)
    try:
        for name, search in (result.get("search") or {}).items():
            # Of an ensemble, its parts by their names, and then itself, with the weights.
            prefix = "" if name == ranker.name else f"{name}."
            settings |= {prefix + path: value for path, value in search["settings"].items()}
    except (AttributeError, KeyError, TypeError):
        raise _damaged(folder, "'search' is not what a search leaves") from None
    return ranker.replace(settings=settings, trials=0, seconds=None)


def _damaged(folder: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{folder / RESULT_FILE} is damaged ({why}); train that run again.")
