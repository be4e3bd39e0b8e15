"""One model with the best settings for one's own data, without a study around it."""

import logging
import tempfile
from pathlib import Path

from filelock import FileLock
from torch_geometric.data import HeteroData
from tqdm import tqdm

from ..config import ConfigError
from ..provenance import hashes
from ..ranking import Ranker
from .arms import named, read_arms
from .candidates import BlendCandidate, Candidate, Settings
from .config import TUNED_BY, TUNING_SEED
from .measure import measure
from .tuning import tune
from .units import short_hash

log = logging.getLogger(__name__)


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
        The model; :func:`~irllrec_pyg.save_ranker` keeps it.

    Raises:
        ConfigError: If the name is unknown, or the model has no form without texts and there are
            none.
        ImportError: Without ``pip install 'irllrec_pyg[study]'``.
        RuntimeError: If no trial works.
        ValueError: If 'trials' is no whole number from 1 on.

    Example:
        >>> model = tuned("ease", data, trials=3)
        >>> model.recommend(7, k=2)["rank"].tolist()
        [1, 2]
    """
    known = read_arms(None)

    def find(name: str) -> Candidate:
        return known.get(name) or named(name)

    candidate = find(model) if isinstance(model, str) else model
    if "x" not in data["item"] and candidate.takes_text:
        found = candidate.textless(find)
        if found is None:
            raise ConfigError(f"{candidate.name!r} needs texts of the items, which 'data' lacks.")
        candidate = found
    if folder is not None:
        kept = Path(folder, short_hash(hashes(data)))
        return _tuned(candidate, data, trials, kept, seed, progress)[0]
    with tempfile.TemporaryDirectory() as scratch:
        return _tuned(candidate, data, trials, Path(scratch), seed, progress)[0]


def _tuned(
    candidate: Candidate, data: HeteroData, trials: int, folder: Path, seed: int, progress: bool
) -> tuple[Ranker, str]:
    """The best model, and a hash of what was chosen; what was tried is in the folder."""
    if isinstance(candidate, BlendCandidate):
        found_parts = [
            _tuned(part, data, trials, folder, seed, progress) for part in candidate.parts
        ]
        parts = [ranker for ranker, _ in found_parts]
        # Other settings of the parts make another blend, whose trials say nothing of this one.
        chosen = [part for _, part in found_parts]

        def build(settings: Settings) -> Ranker:
            return candidate.blend(parts, settings)
    else:
        chosen = []

        def build(settings: Settings) -> Ranker:
            return candidate.fit(data, settings, seed, folder / "training" / short_hash(settings))

    setting = "warm"
    for side in ("item", "user"):
        if "split" in data[side]:
            setting = f"cold_{side}s"
    own = {**candidate.description, "parts": chosen, "seed": seed if candidate.is_random else 0}
    journal = folder / f"{candidate.name}-{short_hash(own)}.log"
    journal.parent.mkdir(parents=True, exist_ok=True)

    def value(settings: Settings) -> float:
        return measure(build(settings), data, setting, "val").means()[TUNED_BY]

    bar = tqdm(total=trials, desc=f"settings of {candidate.name}", disable=not progress)
    with FileLock(journal.with_suffix(".lock")), bar:
        found = tune(
            candidate.ranges(data),
            value,
            journal,
            trials=trials,
            seed=TUNING_SEED,
            starts=candidate.starts(data),
            report=bar.update,
        )
        bar.update(found.trials - bar.n)  # of an earlier run
        log.info(
            "%s: %s %.4f on validation with %s.",
            *(candidate.name, TUNED_BY, found.value, found.settings or "its defaults"),
        )
        return build(found.settings), short_hash({**own, "chosen": found.settings})
