"""Graph models of a study: a backbone with heads, trained by :func:`irllrec_pyg.training.fit`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData

from ..config import Config, settings_of
from ..nn.heads.base import TextHead
from ..nn.model_config import ModelConfig
from ..nn.recommender import Recommender
from ..published import model_config, published_settings, split_name
from ..ranking import Ranker
from ..registry import lookup
from ..training import TrainingConfig, fit
from ..training.callbacks import Watched
from .candidates import CHECKPOINT_EVERY, Candidate, Find, Settings, Watch, tiny
from .config import TUNED_BY
from .ranges import Range

# Settings that make a model greater, not better suited: a study names them where it means them.
SIZES = ("embedding_size", "similarity")


class GraphCandidate(Candidate):
    """A backbone with heads, trained by :func:`irllrec_pyg.training.fit`."""

    def all_settings(self, data: HeteroData | None, settings: Settings) -> Settings:
        """Published settings, this candidate's and those that were chosen, by path."""
        name = None if data is None else data.get("name")
        heads = [f"heads.{head}." for head in split_name(self.model)[1]]
        published = {
            path: value
            for path, value in published_settings(self.published or self.model, name).items()
            if not path.startswith("heads.") or path.startswith(tuple(heads))
        }
        return {**published, **self.settings, **settings}

    def _declared(self, data: HeteroData) -> dict[str, Range]:
        config = model_config(self.model, self.all_settings(data, {}))
        loss = config.ranking_loss
        parts: list[tuple[str, type[Config]]] = [
            ("", ModelConfig),
            ("backbone.", lookup("backbone", config.backbone["name"]).Config),
            ("training.", TrainingConfig),
            *(
                (f"heads.{label}.", lookup("head", head["name"]).Config)
                for label, head in config.heads.items()
            ),
            *([("ranking_loss.", lookup("ranking-loss", loss["name"]).Config)] if loss else []),
        ]
        declared = {
            path: Range.of(info)
            for prefix, part in parts
            for path, info in settings_of(part, prefix)
            if path.rpartition(".")[2] not in SIZES
        }
        return {path: found for path, found in declared.items() if found is not None}

    def starts(self, data: HeteroData) -> list[Settings]:
        """The published values."""
        own = self.all_settings(data, {})
        config = model_config(self.model, own).to_dict()
        config["training"] = _training(own, 0).to_dict()
        found = {}
        for path in self.ranges(data):
            value: Any = config
            for part in path.split("."):
                value = value[part]
            found[path] = value
        return [found]

    @property
    def is_random(self) -> bool:
        """Training always is."""
        return True

    def _probe(self) -> None:
        Recommender.from_config(model_config(self.model, self.all_settings(None, {})), tiny())

    def textless(self, find: Find) -> Candidate | None:
        """The same backbone without the heads that need texts, which is their weight at zero."""
        if (found := super().textless(find)) is not None:
            return found
        backbone, heads = split_name(self.model)
        left = [head for head in heads if not issubclass(lookup("head", head), TextHead)]
        gone = tuple(f"heads.{head}." for head in heads if head not in left)
        own = {path: value for path, value in self.settings.items() if not path.startswith(gone)}
        search = self.search and {p: r for p, r in self.search.items() if not p.startswith(gone)}
        found = replace(
            self,
            model="+".join([backbone, *left]),
            published=self.published or self.model,
            settings=own,
            search=search,
        )
        return None if not gone or found.takes_text else found

    def fit(
        self, data: HeteroData, settings: Settings, seed: int, folder: Path, watch: Watch = None
    ) -> Ranker:
        """Trains the model; a run that was killed goes on in the folder."""
        own = self.all_settings(data, settings)
        torch.manual_seed(seed)
        model = Recommender.from_config(model_config(self.model, own), data)
        config = _training(own, seed)
        watching = [Watched(watch, config.monitor)] if watch else []
        fit(model, data, config, folder=folder, progress=False, loggers=[], callbacks=watching)
        return model


def _training(settings: Settings, seed: int) -> TrainingConfig:
    own = {
        path.removeprefix("training."): value
        for path, value in settings.items()
        if path.startswith("training.")
    }
    # A checkpoint costs as much as an epoch of a small data set.
    defaults = {"monitor": TUNED_BY, "checkpoint_every": CHECKPOINT_EVERY}
    return TrainingConfig.read({**defaults, **own, "seed": seed})
