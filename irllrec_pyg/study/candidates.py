"""The models of a study: how each is built from settings, and what of them is searched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
from torch_geometric.data import HeteroData

from ..config import ConfigError, settings_of, unknown_name
from ..datasets.interactions import from_interactions
from ..linear import LinearModel
from ..nn.features import MissingTextError
from ..published import published_grid
from ..ranking import Blend, Ranker, Rerank, learn_weights
from ..registry import lookup
from .ranges import Range

Settings = dict[str, Any]
Find = Callable[[str], "Candidate"]
Watch = Callable[[int, float], None] | None
CHECKPOINT_EVERY = 20  # epochs
# What a weight of a blend counts for none at: ratios are searched, hence logarithms of weights.
NOTHING = 0.01


@dataclass(frozen=True)
class Candidate:
    """A model of a study.

    Args:
        name (str): What the study calls it.
        model (str): Registered or published name.
        settings (dict): Fixed settings, by path.
        search (dict, optional): Ranges by path, in the place of those that the model's settings
            declare; nothing for a range stands for the declared one. (default: all declared ones)
        without_text (str or dict, optional): The form without texts: another candidate's name, or
            settings. (default: there is none, or the model's heads with texts are taken off)
        splits, seeds (int, optional): How many are reported, where it is not what the study says.
        published (str, optional): Whose published settings it has. (default: the model's)
        against (str, optional): The candidate that its arms are compared with, text by text.
            (default: none)
    """

    name: str
    model: str
    settings: Settings = field(default_factory=dict)
    search: dict[str, Range | None] | None = None
    without_text: str | Settings | None = None
    splits: int | None = None
    seeds: int | None = None
    published: str | None = None
    against: str | None = None

    def ranges(self, data: HeteroData) -> dict[str, Range]:
        """What is searched on a data set."""
        found = self._declared(data)
        if self.search is not None:
            own = {path: _bounded(given, found.get(path)) for path, given in self.search.items()}
            if unknown := [path for path, given in own.items() if given is None]:
                raise ConfigError(f"{self.name}: {unknown_name('range', unknown[0], list(found))}")
            found = {path: given for path, given in own.items() if given is not None}
        return {path: given for path, given in found.items() if path not in self.settings}

    def fixed(self, settings: Settings) -> "Candidate":
        """The candidate with further settings, by path, that are not searched."""
        return replace(self, settings={**self.settings, **settings})

    def _declared(self, data: HeteroData) -> dict[str, Range]:
        raise NotImplementedError

    def starts(self, data: HeteroData) -> list[Settings]:
        """What a search tries first: the values that hold where nothing is searched."""
        raise NotImplementedError

    @property
    def is_random(self) -> bool:
        """Whether a seed changes anything."""
        raise NotImplementedError

    @property
    def takes_text(self) -> bool:
        """Whether it is built from texts."""
        try:
            self._probe()
        except MissingTextError:
            return True
        return False

    def _probe(self) -> None:
        raise NotImplementedError

    def textless(self, find: "Find") -> "Candidate | None":
        """The same model and settings without texts, or nothing.

        Args:
            find (callable): Gives a candidate by name.
        """
        if not self.takes_text:
            return self
        if isinstance(self.without_text, str):
            other = find(self.without_text)
            if other.takes_text:
                raise ConfigError(
                    f"{self.name}: 'without_text' names {other.name!r}, which needs texts itself."
                )
            return replace(other, splits=self.splits, seeds=self.seeds)
        if self.without_text is not None:
            return replace(self, settings={**self.settings, **self.without_text})
        return None

    def grid(self, data: HeteroData) -> dict[str, list[Any]]:
        """Values by path for a search by grid: the published ones where there are several, else
        some of the range.
        """
        known = published_grid(self.model)
        return {
            path: found if len(found := known.get(path, [])) > 1 else given.grid()
            for path, given in self.ranges(data).items()
        }

    def fit(
        self, data: HeteroData, settings: Settings, seed: int, folder: Path, watch: Watch = None
    ) -> Ranker:
        """Builds and trains the model.

        Args:
            data (HeteroData): The graph.
            settings (dict): What was chosen, by path.
            seed (int): Of everything random.
            folder (Path): Where training may leave what it needs to go on after a kill.
            watch (callable, optional): Is called with each evaluated epoch and the value of
                validation, and may end the training by an exception. (default: ``None``)
        """
        raise NotImplementedError

    def check(self, data: HeteroData) -> None:
        """Checks that the model can be had of a data set, before anything is searched.

        Raises:
            ImportError: If a package is missing; names the extra.
            ValueError: If it cannot.
        """

    def finished(self, ranker: Ranker, data: HeteroData) -> Ranker:
        """The model with what it learns when its settings are chosen."""
        return ranker

    @property
    def description(self) -> dict[str, Any]:
        """What it is, as plain values; a study holds on to it."""
        search = None if self.search is None else {p: str(r) for p, r in self.search.items()}
        return {
            "model": self.model,
            "settings": self.settings,
            "search": search,
            "without_text": self.without_text,
            "splits": self.splits,
            "seeds": self.seeds,
        }


def _bounded(given: Range | None, declared: Range | None) -> Range | None:
    """A range that widens no further than the declared one; the declared one, if none is given."""
    if given is None or declared is None:
        return given or declared
    return given.within(declared.least, declared.most)


@dataclass(frozen=True)
class BlendCandidate(Candidate):
    """Other candidates as one; they are taken as they were tuned, their weights are searched.

    Args:
        parts (tuple of Candidate): The others.
    """

    parts: tuple[Candidate, ...] = ()

    def check(self, data: HeteroData) -> None:
        """Checks every part."""
        for part in self.parts:
            part.check(data)

    def fixed(self, settings: Settings) -> "Candidate":
        """The blend with settings of its parts, ``"ease.reg"``, and weights, ``"weights.ease"``."""
        own: dict[str, Settings] = {part.name: {} for part in self.parts}
        weights: Settings = {}
        for path, value in settings.items():
            name, _, rest = path.partition(".")
            if (rest if name == "weights" else name) not in own or not rest:
                known = [f"weights.{part}" for part in own] + [f"{part}.SETTING" for part in own]
                raise ConfigError(f"{self.name}: {unknown_name('setting', path, known)}")
            if name == "weights":
                weights[path] = _weight(value, f"{self.name}: {path!r}")
            else:
                own[name][rest] = value
        parts = tuple(part.fixed(own[part.name]) for part in self.parts)
        return replace(self, parts=parts, settings={**self.settings, **weights})

    def _declared(self, data: HeteroData) -> dict[str, Range]:
        if len(self.parts) < 2:
            return {}
        ratio = Range(NOTHING, 1.0, log=True).within(NOTHING, 1.0)
        return {f"weights.{part.name}": ratio for part in self.parts}

    def starts(self, data: HeteroData) -> list[Settings]:
        """Equal weights, and each part alone, which random weights never are."""
        paths = list(self.ranges(data))
        alone = [{path: 1.0 if path == part else NOTHING for path in paths} for part in paths]
        return [dict.fromkeys(paths, 1.0), *alone]

    def learned(self, rankers: Sequence[Ranker], data: HeteroData) -> list[Settings]:
        """Weights to try early: those that tell validation items from others, where that can be
        learnt; see :func:`learn_weights`.
        """
        # People whom the data set holds out are ranked by their histories.
        if len(rankers) < 2 or "split" in data["user"] or not self.ranges(data):
            return []
        found = dict(zip(self._declared(data), learn_weights(Blend(*rankers), data), strict=True))
        return [{path: max(found[path], NOTHING) for path in self.ranges(data)}]

    def blend(self, rankers: Sequence[Ranker], settings: Settings) -> Blend:
        """The parts, in their order, with the weights that were chosen."""
        settings = {**self.settings, **settings}
        found = [settings[f"weights.{part.name}"] for part in self.parts if settings]
        return Blend(*rankers, weights=[w if w > NOTHING else 0.0 for w in found])

    @property
    def is_random(self) -> bool:
        """Whether a part is."""
        return any(part.is_random for part in self.parts)

    @property
    def takes_text(self) -> bool:
        """Whether a part does."""
        return any(part.takes_text for part in self.parts)

    def textless(self, find: Find) -> Candidate | None:
        """The blend of the parts without texts; a part that is nothing without them drops out."""
        if not self.takes_text:
            return self
        parts = tuple(found for part in self.parts if (found := part.textless(find)) is not None)
        return replace(self, parts=parts) if parts else None

    @property
    def description(self) -> dict[str, Any]:
        """What it is, with its parts."""
        parts = {part.name: part.description for part in self.parts}
        return {**super().description, "parts": parts}


def _weight(value: Any, name: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < float("inf"):
        raise ConfigError(f"{name} must be a finite number from 0 on, got {value!r}.")
    return float(value)


class RerankCandidate(BlendCandidate):
    """A blend whose first items trees put in another order; they learn from the validation
    interactions when the weights have been chosen.
    """

    def check(self, data: HeteroData) -> None:
        """Checks every part, and that there is what trees learn from."""
        super().check(data)
        Rerank.check_lessons(data)

    def finished(self, ranker: Ranker, data: HeteroData) -> Ranker:
        """The blend with trees."""
        assert isinstance(ranker, Blend)
        return Rerank(*ranker.rankers(), weights=ranker.shares).learn(data)


class LinearCandidate(Candidate):
    """A registered closed-form model."""

    @property
    def cls(self) -> type[LinearModel]:
        """Its class."""
        return cast("type[LinearModel]", lookup("linear", self.model))

    def _declared(self, data: HeteroData) -> dict[str, Range]:
        limits = self.cls.limits(data)
        declared = {
            path: Range.of(info, limits.get(path, float("inf")))
            for path, info in settings_of(self.cls.Config)
        }
        return {path: found for path, found in declared.items() if found is not None}

    def starts(self, data: HeteroData) -> list[Settings]:
        """The defaults, where the data set allows them."""
        limits, fields = self.cls.limits(data), self.cls.Config.model_fields
        found = {path: fields[path].default for path in self.ranges(data)}
        return [{path: min(value, limits.get(path, value)) for path, value in found.items()}]

    @property
    def is_random(self) -> bool:
        """Whether it has a seed."""
        return "seed" in self.cls.Config.model_fields

    def _probe(self) -> None:
        data = tiny()
        limits = self.cls.limits(data)
        fields = self.cls.Config.model_fields
        wanted = {path: fields[path].default for path in limits} | self.settings
        small = {path: min(wanted[path], most) for path, most in limits.items()}
        self.cls(data, {**self.settings, **small})

    def fit(
        self, data: HeteroData, settings: Settings, seed: int, folder: Path, watch: Watch = None
    ) -> Ranker:
        """Builds the model."""
        own = {"seed": seed} if self.is_random else {}
        return self.cls(data, {**self.settings, **settings, **own})


def tiny() -> HeteroData:
    """A graph without texts, on which it shows whether a model needs some."""
    pairs = [(user, (user + step) % 8) for user in range(8) for step in range(5)]
    return from_interactions(pd.DataFrame(pairs, columns=["user", "item"]), "user", "item")
