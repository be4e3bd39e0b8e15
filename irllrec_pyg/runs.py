"""A whole run in one description: data, model and training, as one YAML file that repeats it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import field_validator
from torch_geometric.data import InMemoryDataset

from .config import Config, ConfigError, field, read_yaml, write_yaml
from .datasets import IRLLRecDataset, MovieLensText
from .nn.recommender import ModelConfig, Recommender
from .published import model_config, published_settings
from .training import FitResult, TrainingConfig, fit

CONFIG_FILE = "config.yaml"


class DataConfig(Config):
    """Where a data set is."""

    name: str = field("sample", help="name of the data set, a folder under its root")
    root: str = field("data", help="folder of the data sets")
    download_text: bool = field(False, help="whether to fetch published text embeddings")

    def open(self) -> InMemoryDataset:
        """The data set; its graph is ``open()[0]``."""
        if self.name == "movielens":
            return MovieLensText(Path(self.root, self.name))
        return IRLLRecDataset(self.root, self.name, download_text=self.download_text)


class RunConfig(Config):
    """What a run is; the same description gives the same numbers on the same machine.

    Example:
        >>> config = RunConfig.of("lightgcn_int", "movie", {"training.epochs": 2})
        >>> config.model.heads["profile"]["weight"], config.training.epochs
        (0.001, 2)
    """

    data: DataConfig = field(DataConfig(), help="the data set")
    model: ModelConfig = field(ModelConfig(), help="the model")
    training: TrainingConfig = field(TrainingConfig(), help="the training")

    @field_validator("training")
    @classmethod
    def _check_monitor(cls, training: TrainingConfig) -> TrainingConfig:
        if training.eval_every:
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
            model (str): As in :func:`irllrec_pyg.build_model`.
            dataset (str, optional): Name of the data set. (default: ``"sample"``)
            settings (mapping, optional): Settings that take the place of the published ones, by
                path: ``"heads.profile.weight"``, ``"training.lr"``. (default: ``None``)
            root (str or Path, optional): Folder of the data sets. (default: ``"data"``)
            mode (str, optional): As in :func:`irllrec_pyg.build_model`. (default: ``None``)
        """
        settings = {**published_settings(model, dataset, mode), **(settings or {})}
        training = {
            path.removeprefix("training."): value
            for path, value in settings.items()
            if path.startswith("training.")
        }
        return cls(
            data=DataConfig(name=dataset, root=str(root)),
            model=model_config(model, settings),
            training=TrainingConfig.read(training),
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

    def save(self, path: str | Path) -> None:
        """Writes the description, with every setting."""
        write_yaml(path, self.to_dict())


def run(
    config: RunConfig, folder: str | Path | None = None, data: Any = None, **options: Any
) -> tuple[Recommender, FitResult]:
    """Builds, trains and tests what a description says.

    Args:
        config (RunConfig): The description.
        folder (str or Path, optional): Where the run is kept, with its description as
            ``config.yaml``; a run that was stopped goes on there. (default: nowhere)
        data (HeteroData, optional): The graph of the data set, where it is open already.
            (default: it is opened)
        **options: Further arguments of :func:`irllrec_pyg.training.fit` that change no number,
            such as ``progress``.

    Returns:
        The model, with its best weights, and the result.
    """
    data = config.data.open()[0] if data is None else data
    torch.manual_seed(config.training.seed)
    model = Recommender.from_config(config.model, data)
    result = fit(model, data, config.training, folder=folder, **options)
    if folder is not None:
        config.save(Path(folder, CONFIG_FILE))
    return model, result
