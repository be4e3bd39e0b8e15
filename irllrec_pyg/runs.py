"""A whole run in one description: data, model and training, as one YAML file that repeats it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import field_validator
from torch_geometric.data import InMemoryDataset

from .config import Config, ConfigError, field, read_yaml, write_yaml
from .datasets import IRLLRecDataset, MovieLensText, TableDataset
from .datasets.splits import Kind, check_shares
from .nn.model_config import ModelConfig
from .nn.recommender import Recommender
from .published import model_config, published_settings
from .training import FitResult, TrainingConfig, fit

CONFIG_FILE = "config.yaml"


class DataConfig(Config):
    """What a data set is: where it lies and, for a folder of tables, what is made of it."""

    name: str = field("sample", help="name of the data set, a folder under its root")
    root: str = field("data", help="folder of the data sets")
    download_text: bool = field(False, help="whether to fetch published text embeddings")
    k_core: int = field(
        5, ge=0, help="of tables: users and items with fewer interactions are left out"
    )
    split: Kind = field("random", help="of tables: what is held out")
    shares: tuple[float, float, float] = field(
        (0.6, 0.2, 0.2), help="of tables: shares of training, validation and test"
    )
    seed: int = field(0, ge=0, help="of tables: seed of the split")
    text: tuple[str, ...] = field(
        (), help="of tables: columns of the items that are embedded; none is text, else title"
    )
    intent: tuple[str, ...] = field(
        (), help="of tables: columns of the items that are embedded as intents"
    )
    encoder: str | None = field(
        "wordllama",
        help="of tables: wordllama, words, sentence-transformers:MODEL, openai:MODEL, several "
        "joined by +, or none",
    )
    text_rank: int | None = field(
        None, ge=1, help="of tables: principal components that texts are reduced to; none is all"
    )
    user_text: bool = field(
        False, help="of tables: whether texts of users are read, which may tell of held-out items"
    )

    @field_validator("text", "intent", "shares", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(","))
        return tuple(value) if isinstance(value, list) else value

    @field_validator("shares")
    @classmethod
    def _check_shares(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        check_shares(shares, "shares")
        return shares

    def open(self) -> InMemoryDataset:
        """The data set; its graph is ``open()[0]``.

        Raises:
            ConfigError: If something is set that only a folder of tables has, and it is none.
        """
        tables = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in ("name", "root", "download_text")
        }
        if any(Path(self.root, self.name).glob("interactions.*")):
            return TableDataset(self.root, self.name, **tables)
        for name, value in tables.items():
            if value != type(self).model_fields[name].default:
                raise ConfigError(
                    f"{name!r} is for a folder of tables, and {Path(self.root, self.name)} holds "
                    f"no table interactions.csv, got {value!r}.",
                    name,
                )
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
                path: ``"heads.profile.weight"``, ``"training.lr"``, ``"data.split"``.
                (default: ``None``)
            root (str or Path, optional): Folder of the data sets. (default: ``"data"``)
            mode (str, optional): As in :func:`irllrec_pyg.build_model`. (default: ``None``)
        """
        settings = {**published_settings(model, dataset, mode), **(settings or {})}
        parts: dict[str, dict[str, Any]] = {"data": {}, "training": {}, "model": {}}
        for path, value in settings.items():
            part, _, name = path.partition(".")
            own, key = (part, name) if part in ("data", "training") else ("model", path)
            parts[own][key] = value
        return cls(
            data=DataConfig.read(parts["data"], name=dataset, root=str(root)),
            model=model_config(model, parts["model"]),
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
