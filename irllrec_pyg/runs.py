"""A whole run in one description: data, model and training, as one YAML file that repeats it."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, cast

import pandas as pd
import torch
from pydantic import ValidationInfo, field_validator
from torch_geometric.data import HeteroData

from . import held_out
from .config import Config, ConfigError, field, read_yaml, unknown_name, write_yaml
from .datasets.config import DataConfig
from .files import write_text
from .model_card import RULE
from .model_folder import (
    CONFIG_FILE,
    MODEL_FILE,
    ORIGIN_FILE,
    RESULT_FILE,
    load_folder,
    read_config,
    read_json,
    save_folder,
    write_card,
    write_items,
)
from .nn.model_config import ModelConfig
from .nn.recommender import Recommender
from .provenance import hashes
from .published import model_config, published_settings
from .ranking import Ranker
from .registry import names
from .study.arms import read_arms
from .training import FitResult, TrainingConfig, fit
from .training.lock import only_run

USERS_FILE, SEARCH = "users.npz", "search"
# What of the training is said of a model that is not trained by gradients.
OF_RANKERS = ("k", "metrics", "exclude_validation")
OF_RESULT = ("test", "validation", "seconds")
OF_SEARCH = ("settings", "trials", "sampler", "prune", "seconds", "seed")


class RankerConfig(Config):
    """A closed-form model, an ensemble, or any model whose settings are searched."""

    name: str = field("tale", help="of a closed-form model, an ensemble, or any other model")
    settings: dict[str, Any] = field({}, help="settings by path, which are not searched")
    trials: int = field(
        20, ge=0, help="settings tried on validation for each part; 0: those that are given"
    )
    sampler: Literal["tpe", "grid"] = field(
        "tpe", help="what draws them: Optuna's estimator, or the grid of published values"
    )
    prune: bool = field(False, help="whether trials that fall behind the others are stopped early")
    seconds: float | None = field(
        None, gt=0, help="no trial begins after so many seconds of trials"
    )
    seed: int = field(0, ge=0, help="seed of the model")


class RunConfig(Config):
    """What a run is; the same description gives the same numbers on the same machine.

    Example:
        >>> config = RunConfig.of("lightgcn_int", "movie", {"training.epochs": 2})
        >>> config.model.heads["profile"]["weight"], config.training.epochs
        (0.001, 2)
        >>> RunConfig.of("ease", "movie", {"linear.reg": 100.0, "ranker.trials": 0}).ranker.settings
        {'reg': 100.0}
    """

    data: DataConfig = field(DataConfig(), help="the data set")
    model: ModelConfig = field(ModelConfig(), help="the model")
    ranker: RankerConfig | None = field(
        None, help="in the place of 'model': a closed form, an ensemble, or a search for settings"
    )
    training: TrainingConfig = field(TrainingConfig(), help="the training")

    @field_validator("training")
    @classmethod
    def _check_monitor(cls, training: TrainingConfig, info: ValidationInfo) -> TrainingConfig:
        if training.eval_every and info.data.get("ranker") is None:  # else nothing is monitored
            training.check_monitor()
        return training

    @classmethod
    def of(
        cls,
        model: str,
        dataset: str = "sample",
        settings: Mapping[str, Any] | None = None,
        root: str | Path = "data",
        mode: str | None = None,
    ) -> Self:
        """The run of a named model, with its published settings for the data set.

        Args:
            model (str): As in :func:`irllrec_pyg.build_model`, a closed-form model such as
                ``"ease"``, or an ensemble such as ``"tale"``.
            dataset (str, optional): Name of the data set. (default: ``"sample"``)
            settings (mapping, optional): Settings that take the place of the published ones, by
                path: ``"heads.profile.weight"``, ``"training.lr"``, ``"data.split"``; those of a
                closed-form model as ``"linear.reg"``, of a search as ``"ranker.trials"``.
                (default: ``None``)
            root (str or Path, optional): Folder of the data sets. (default: ``"data"``)
            mode (str, optional): As in :func:`irllrec_pyg.build_model`. (default: ``None``)

        Raises:
            ConfigError: If the model or a setting is unknown or wrong; it is named.
        """
        settings = dict(settings or {})
        searched = any(path.startswith("ranker.") for path in settings) or not is_trained(model)
        if not searched:
            settings = {**published_settings(model, dataset, mode), **settings}
        parts: dict[str, dict[str, Any]] = {"data": {}, "training": {}, "ranker": {}, "linear": {}}
        rest = {}
        for path, value in settings.items():
            part, _, name = path.partition(".")
            if part in parts and not (searched and part == "training" and name not in OF_RANKERS):
                parts[part][name] = value
            else:
                rest[path] = value
        if searched and (wrong := [] if is_trained(model) else list(rest)):
            raise ConfigError(f"{model}: {unknown_name('setting', wrong[0], list(parts))}")
        if not searched and parts["linear"]:
            raise ConfigError(f"{model} is no closed-form model: there is no linear.* to set.")
        own = {**rest, **parts["linear"]}
        ranker = RankerConfig.read(parts["ranker"], name=model, settings=own) if searched else None
        return cls(
            data=DataConfig.read(parts["data"], name=dataset, root=str(root)),
            model=ModelConfig() if searched else model_config(model, rest),
            ranker=ranker,
            training=TrainingConfig.read(parts["training"]),
        )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads a description.

        Raises:
            ConfigError: If it is no YAML or a setting is wrong; file and setting are named.
        """
        try:
            return cls.read(read_yaml(path))
        except ConfigError as error:
            raise ConfigError(
                str(error) if str(path) in str(error) else f"{path}: {error}"
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """Every field that says something, as plain values; :meth:`read` takes them back."""
        found = super().to_dict()
        if self.ranker is None:
            del found["ranker"]
            return found
        del found["model"]
        found["training"] = {name: found["training"][name] for name in OF_RANKERS}
        return found

    @property
    def name(self) -> str:
        """The model in a word."""
        if self.ranker is not None:
            return self.ranker.name
        return "+".join([self.model.backbone["name"], *self.model.heads])

    def save(self, path: str | Path) -> None:
        """Writes the description, with every setting."""
        write_yaml(path, self.to_dict())


def is_trained(model: str) -> bool:
    """Whether a name is no closed form or arm of a study, but a backbone, alone or with heads."""
    return model not in (*names("linear"), *read_arms(None))


def run(
    config: RunConfig,
    folder: str | Path | None = None,
    data: HeteroData | None = None,
    items: pd.DataFrame | None = None,
    **options: Any,
) -> tuple[Ranker, FitResult]:
    """Builds, trains and tests what a description says.

    The folder gets the description (``config.yaml``), the model (``model.safetensors``), metrics
    (``result.json``), those of each test user (``users.npz``), the table of the items where there
    is one, and a card (``README.md``); :func:`irllrec_pyg.load_folder` loads it.

    Args:
        config (RunConfig): The description.
        folder (str or Path, optional): Where the run is kept; a run that was stopped goes on
            there, and a finished one is not repeated. (default: nowhere)
        data (HeteroData, optional): The graph of the data set, where it is open already.
            (default: it is opened)
        items (DataFrame, optional): Its items, a row each with their id as ``item``.
            (default: those of a data set that is opened)
        **options: Further arguments of :func:`irllrec_pyg.training.fit` that change no number,
            such as ``progress``.

    Returns:
        The model, with its best weights, and the result.

    Raises:
        ConfigError: If the folder holds another run.
        RuntimeError: If another process is at work in the folder; it is named.
    """
    if data is None:
        dataset = config.data.open()
        data, items = cast(HeteroData, dataset[0]), getattr(dataset, "items", None)
    place = None if folder is None else Path(folder)
    if config.ranker is not None:
        return _run_ranker(config, config.ranker, place, data, items, **options)
    torch.manual_seed(config.training.seed)
    model = Recommender.from_config(config.model, data)
    if place is not None and not (place / CONFIG_FILE).exists():
        config.save(place / CONFIG_FILE)
    result = fit(model, data, config.training, folder=place, **options)
    if rule := held_out.rules(data):  # training itself ranks among all
        found = held_out.metrics(model, data, config.training)
        result = replace(result, test=found["test"], validation=found["validation"])
        if place is not None:
            whole = {**read_json(place / RESULT_FILE), **found, RULE: rule}
            write_text(place / RESULT_FILE, json.dumps(whole, indent=1))
    if place is not None:
        held_out.write_users(place / USERS_FILE, model, data, config.training)
        config.save(place / CONFIG_FILE)
        if items is not None:
            write_items(place, items)
        write_card(place, model, config.to_dict(), read_json(place / RESULT_FILE))
    return model, result


def _run_ranker(
    config: RunConfig,
    own: RankerConfig,
    folder: Path | None,
    data: HeteroData,
    items: pd.DataFrame | None,
    progress: bool = True,
) -> tuple[Ranker, FitResult]:
    from .study.tuned import describe, search

    if folder is not None and _is_finished(config, folder, data):  # where nothing may be written
        return load_folder(folder), _result(read_json(folder / RESULT_FILE, OF_RESULT))
    with only_run(folder):
        # Another process may have been at work here meanwhile.
        if folder is not None and not _is_finished(config, folder, data):
            config.save(folder / CONFIG_FILE)
        begin = time.perf_counter()
        found = search(
            own.name,
            data,
            **{name: getattr(own, name) for name in OF_SEARCH},
            folder=None if folder is None else folder / SEARCH,
            progress=progress,
        )
        result = {
            "seconds": time.perf_counter() - begin,
            **held_out.metrics(found.ranker, data, config.training),
            RULE: held_out.rules(data),
            "model": describe(found.ranker),
            "search": {name: tuning._asdict() for name, tuning in found.searches.items()},
        }
        if folder is not None:
            held_out.write_users(folder / USERS_FILE, found.ranker, data, config.training)
            save_folder(found.ranker, folder, items, config.to_dict(), result)
    return found.ranker, _result(result)


def _is_finished(config: RunConfig, folder: Path, data: HeteroData) -> bool:
    """Whether a folder holds this run, whole.

    Raises:
        ConfigError: If it holds another one, or one of tables that have changed since.
    """
    if not (folder / CONFIG_FILE).exists():
        return False
    before = read_config(folder, RunConfig.read)
    if _without_budget(before) != _without_budget(config):
        raise ConfigError(
            f"{folder} holds a run with other settings, which are in its {CONFIG_FILE}; take "
            "another folder."
        )
    if before != config or not all((folder / name).exists() for name in (MODEL_FILE, RESULT_FILE)):
        return False
    origin = folder / ORIGIN_FILE
    if origin.exists() and read_json(origin).get("data") != hashes(data):
        raise ConfigError(
            f"{folder} holds a run on other interactions or texts: {config.data.name!r} has "
            "changed since. Take another folder."
        )
    return True


def _without_budget(config: RunConfig) -> RunConfig:
    """What may not change in a folder; a search may go on with a greater budget."""
    if config.ranker is None or not config.ranker.trials:
        return config
    return config.replace(ranker=config.ranker.replace(trials=1, seconds=None))


def _result(content: Mapping[str, Any]) -> FitResult:
    return FitResult(
        **{name: content[name] for name in OF_RESULT},
        best_epoch=0,
        epochs=0,
        stopped_early=False,
        seconds_per_epoch=0.0,
        history=pd.DataFrame(),
    )
