"""One model with the best settings for one's own data, without a study around it."""

import logging
import random
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from filelock import FileLock
from torch_geometric.data import HeteroData
from tqdm import tqdm

from ..config import ConfigError
from ..linear import LinearModel
from ..nn.recommender import Recommender
from ..provenance import hashes
from ..ranking import Blend, Ranker
from .arms import named, read_arms
from .candidates import BlendCandidate, Candidate, Settings, Watch
from .config import TUNED_BY, TUNING_SEED
from .measure import measure
from .units import short_hash

if TYPE_CHECKING:
    from .tuning import Tuning

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """What a search gives.

    Args:
        ranker (Ranker): The model with the best settings.
        searches (dict): What was tried for each part and then for the whole, by name; nothing
            where nothing was searched.
        chosen (dict): The best settings of the whole, by path.
    """

    ranker: Ranker
    searches: "dict[str, Tuning]"
    chosen: Settings


def tuned(
    model: str | Candidate,
    data: HeteroData,
    *,
    trials: int = 20,
    folder: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Ranker:
    """Builds a model with the settings that are best on the validation interactions, by ndcg@20.

    The parts of an ensemble such as ``"tale"`` are searched one after the other, and then their
    weights. Without texts of items an ensemble is that of its forms without texts. Of a data set
    with cold items, those for validation are ranked among themselves; of one with cold users, those
    for validation get lists by their histories.

    Args:
        model (str or Candidate): ``"tale"``, another name in the study's ``arms.yaml``, or any
            closed-form or published model.
        data (HeteroData): The graph of a data set, with validation interactions.
        trials (int, optional): Settings that are tried for each part. (default: ``20``)
        folder (str or Path, optional): Where trials are kept: a search that was stopped goes on
            there, and a second one waits for the first. (default: nowhere)
        seed (int, optional): Seed of the model. (default: ``0``)
        progress (bool, optional): Whether to show a bar of the trials of each part.
            (default: ``True``)

    Returns:
        The model; :func:`~irllrec_pyg.checkpoint.save_ranker` keeps it.

    Raises:
        ConfigError: If the name is unknown, or the model has no form without texts and there are
            none.
        ImportError: Without ``pip install 'irllrec_pyg[study]'``; names the extra that a model
            needs besides.
        RuntimeError: If no trial works.
        ValueError: If 'trials' is no whole number from 1 on, or the model cannot be had of the
            data set.

    Example:
        >>> model = tuned("ease", data, trials=3)
        >>> model.recommend(7, k=2)["rank"].tolist()
        [1, 2]
    """
    return search(model, data, trials=trials, folder=folder, seed=seed, progress=progress).ranker


def search(
    model: str | Candidate,
    data: HeteroData,
    *,
    settings: Mapping[str, Any] | None = None,
    trials: int = 20,
    sampler: Literal["tpe", "grid"] = "tpe",
    prune: bool = False,
    seconds: float | None = None,
    folder: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Found:
    """As :func:`tuned`, and tells what was tried.

    Args:
        model, data, folder, seed, progress: As in :func:`tuned`.
        settings (mapping, optional): Settings by path that are not searched; of an ensemble those
            of its parts, ``"l3ae.reg"``, and their weights, ``"weights.l3ae"``. (default: none)
        trials (int, optional): As in :func:`tuned`; with 0 the model has the settings that are
            given, and defaults. (default: ``20``)
        sampler (str, optional): ``"tpe"``, or ``"grid"``: every combination of the published
            values of a model, or of some values of the ranges that it declares, in an order drawn
            at random. (default: ``"tpe"``)
        prune (bool, optional): Whether trials that fall behind the others are stopped early;
            models in closed form have no steps. (default: ``False``)
        seconds (float, optional): No trial begins after so many seconds of trials of a part.
            (default: ``None``)
    """
    known = read_arms(None)

    def find(name: str) -> Candidate:
        return known.get(name) or named(name)

    candidate = find(model) if isinstance(model, str) else model
    given = dict(settings or {})
    if not isinstance(candidate, BlendCandidate):
        candidate, given = candidate.fixed(given), {}
    if "x" not in data["item"] and candidate.takes_text:
        found = candidate.textless(find)
        if found is None:
            raise ConfigError(f"{candidate.name!r} needs texts of the items, which 'data' lacks.")
        candidate = found
    candidate = candidate.fixed(given)  # of an ensemble, by the names of the parts that it has here
    candidate.check(data)
    with ExitStack() as stack:
        if folder is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        else:
            place = Path(folder, short_hash(hashes(data)))
        own = _Search(data, place, trials, sampler, prune, seconds, seed, progress)
        ranker, _, chosen = own.run(candidate)
        return Found(ranker, own.searches, chosen)


@dataclass
class _Search:
    """The search for the settings of a model, and of each part of an ensemble before."""

    data: HeteroData
    folder: Path
    trials: int
    sampler: str
    prune: bool
    seconds: float | None
    seed: int
    progress: bool
    searches: "dict[str, Tuning]" = field(default_factory=dict)

    @property
    def setting(self) -> str:
        """How it is ranked on validation."""
        sides = [side for side in ("item", "user") if "split" in self.data[side]]
        return f"cold_{sides[-1]}s" if sides else "warm"

    def run(self, candidate: Candidate) -> tuple[Ranker, str, Settings]:
        """The best model, a hash of what was chosen, and what was."""
        data, seed, chosen = self.data, self.seed, list[str]()
        if isinstance(candidate, BlendCandidate):
            parts = [self.run(part) for part in candidate.parts]
            rankers = [ranker for ranker, _, _ in parts]
            # Other settings of the parts make another blend, whose trials say nothing of this one.
            chosen = [part for _, part, _ in parts]

            def build(settings: Settings, watch: Watch = None) -> Ranker:
                return candidate.blend(rankers, settings)
        else:

            def build(settings: Settings, watch: Watch = None) -> Ranker:
                kept = self.folder / "training" / short_hash(settings)
                return candidate.fit(data, settings, seed, kept, watch)

        own = {**candidate.description, "parts": chosen, "seed": seed if candidate.is_random else 0}
        best = self._best(candidate, own, build) if self.trials else candidate.starts(data)[0]
        found = candidate.finished(build(best), data)
        return found, short_hash({**own, "chosen": best}), best

    def _best(self, candidate: Candidate, own: dict[str, Any], build: Any) -> Settings:
        """The settings that are best on validation."""

        def value(settings: Settings, watch: Watch = None) -> float:
            ranker = build(settings, watch)
            return measure(ranker, self.data, self.setting, "val").means()[TUNED_BY]

        how = {**own, "sampler": self.sampler} if self.sampler != "tpe" else own
        how |= {"prune": True} if self.prune else {}
        journal = self.folder / f"{candidate.name}-{short_hash(how)}.log"
        journal.parent.mkdir(parents=True, exist_ok=True)
        from .tuning import tune  # needs Optuna, which given settings do not

        starts, trials = candidate.starts(self.data), self.trials
        if self.sampler == "grid":
            starts = grid(candidate.grid(self.data), TUNING_SEED)
            trials = min(trials, len(starts))
        bar = tqdm(total=trials, desc=f"settings of {candidate.name}", disable=not self.progress)
        with FileLock(journal.with_suffix(".lock")), bar:
            found = tune(
                candidate.ranges(self.data),
                value,
                journal,
                trials=trials,
                seconds=self.seconds,
                seed=TUNING_SEED,
                starts=starts,
                report=bar.update,
                prune=self.prune,
            )
            bar.update(found.trials - bar.n)  # of an earlier run
        log.info(
            "%s: %s %.4f on validation with %s.",
            *(candidate.name, TUNED_BY, found.value, found.settings or "its defaults"),
        )
        self.searches[candidate.name] = found
        return found.settings


def grid(values: Mapping[str, list[Any]], seed: int) -> list[Settings]:
    """Every combination of values by path, in an order drawn at random."""
    points = [dict(zip(values, point, strict=True)) for point in product(*values.values())]
    random.Random(seed).shuffle(points)
    return points


def describe(ranker: Ranker) -> dict[str, Any]:
    """What a model is, with every setting, as plain values."""
    if isinstance(ranker, Blend):
        parts = [describe(part) for part in ranker.rankers()]
        own = {**ranker.config.to_dict(), "weights": ranker.shares}
        return {"name": ranker.kind, **own, "parts": parts}
    if isinstance(ranker, Recommender):
        return ranker.config.to_dict()
    return (
        ranker.description if isinstance(ranker, LinearModel) else {"name": type(ranker).__name__}
    )
