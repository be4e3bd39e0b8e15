"""By which rules lists are compared with held-out interactions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch_geometric.data import HeteroData

from . import provenance
from .edges import EDGE_TYPE, SPLITS
from .ranking import USER_METRICS, Ranker, evaluate, evaluate_users
from .study.measure import PHASES, folded
from .training import TrainingConfig
from .training.module import has_pairs

Found = TypeVar("Found")


def metrics(
    ranker: Ranker, data: HeteroData, ranking: TrainingConfig
) -> dict[str, dict[str, float]]:
    """Metrics of both splits by name, ``"test"`` and ``"validation"``, as a run has them; nothing
    for a split that is empty.

    Args:
        ranker (Ranker): What ranks.
        data (HeteroData): The graph that it was built with.
        ranking (TrainingConfig): Says which metrics, at which lengths.
    """
    options: dict[str, Any] = {"k": ranking.k, "metrics": ranking.metrics}
    hidden = ranking.exclude_validation
    return {
        name: by_rules(evaluate, ranker, data, split, hide, **options)
        if has_pairs(data, split)
        else {}
        for name, split, hide in (("test", "test", hidden), ("validation", "val", False))
    }


def write_users(file: Path, ranker: Ranker, data: HeteroData, ranking: TrainingConfig) -> None:
    """Writes the values of each test user into a file of a run's folder, and beside it what they
    come from; arguments as of :func:`metrics`. Where nothing is held out there are no values.
    """
    provenance.provenance(data, file.parent)
    if not has_pairs(data, "test"):
        return
    names = [name for name in ranking.metrics if name in USER_METRICS]
    options = {"k": ranking.k, "metrics": names}
    hidden = ranking.exclude_validation
    users = by_rules(evaluate_users, ranker, data, "test", hidden, **options)
    provenance.write_users(users, file, file.parent)


def by_rules(
    measure: Callable[..., Found],
    ranker: Ranker,
    data: HeteroData,
    split: str,
    exclude_validation: bool = False,
    **options: Any,
) -> Found:
    """Measures a ranker by the rules of its data set, which :func:`rules` says in words.

    Args:
        measure (callable): :func:`~irllrec_pyg.ranking.evaluate` or
            :func:`~irllrec_pyg.ranking.evaluate_users`.
        ranker (Ranker): What ranks.
        data (HeteroData): The graph that it was built with.
        split (str): ``"val"`` or ``"test"``.
        exclude_validation (bool, optional): Whether validation items are left out at test.
            (default: ``False``)
        **options: Further arguments of ``measure``.
    """
    if "split" in data["user"]:
        rates = data[EDGE_TYPE]
        ranker = folded(ranker, rates.history_edge_index)
        return measure(ranker, rates[SPLITS[split]], **options)
    if "split" in data["item"]:
        options["candidates"] = (data["item"].split == PHASES[split]).nonzero().flatten()
    hidden = exclude_validation and split == "test"
    return measure(ranker, data, split, exclude_validation=hidden, **options)


def rules(data: HeteroData) -> str:
    """How held-out interactions are ranked, where that is not among all items."""
    if "split" in data["user"]:
        return "Ranked for users whom training does not know, by their histories."
    if "split" in data["item"]:
        return "Ranked among items without a training interaction, as the split holds them out."
    return ""
