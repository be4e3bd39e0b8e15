"""The arms of a study: candidates by name, with each kind of text that makes sense."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from ..config import ConfigError, read_yaml, unknown_name
from ..published import split_name
from ..registry import names
from .candidates import BlendCandidate, Candidate, Find, LinearCandidate
from .graph_candidates import GraphCandidate
from .ranges import Range


@dataclass(frozen=True)
class Arm:
    """One model with one kind of text on one data set in one setting.

    Args:
        data, setting, model, text (str): Names.
        candidate (Candidate): What is built; for text ``none`` the model's form without texts.
        is_form (bool): Whether that form goes by the name of the model that takes texts.
    """

    data: str
    setting: str
    model: str
    text: str
    candidate: Candidate
    is_form: bool = False

    @property
    def unit(self) -> str:
        """Where its results are; arms that build the same share them."""
        return f"{self.data}/{self.setting}/{self.candidate.name}/{self.text}"

    @property
    def words(self) -> str:
        """The arm in words."""
        return f"{self.data}, {self.setting}, {self.model}, text {self.text}"


def all_arms(
    datasets: Iterable[str],
    settings: Iterable[str],
    texts: Iterable[str],
    models: Sequence[str],
    find: Find,
) -> list[Arm]:
    """Every arm that makes sense: a model without texts has one kind of text, ``none``.

    Args:
        datasets, settings, texts (iterable of str): Names.
        models (sequence of str): Names of candidates.
        find (callable): Gives a candidate by name.
    """
    forms: list[tuple[str, str, Candidate, bool]] = []
    texts = list(texts)
    for model in models:
        candidate = find(model)
        textless = candidate.textless(find)
        if textless is not None and "none" in texts:
            own = textless is not candidate and textless.name == candidate.name
            forms.append((model, "none", textless, own))
        if candidate.takes_text:
            forms += [(model, text, candidate, False) for text in texts if text != "none"]
    return [
        Arm(data, setting, model, text, candidate, own)
        for data in datasets
        for setting in settings
        for model, text, candidate, own in forms
    ]


def read_arms(path: str | None) -> dict[str, Candidate]:
    """Candidates by name, from a file of arms or from those that come with the package."""
    if path is not None:
        rows = read_yaml(path)
    else:
        with resources.as_file(resources.files(__package__) / "arms.yaml") as own:
            rows = read_yaml(own)
    found: dict[str, Candidate] = {}
    for name, row in rows.items():
        found[name] = read_candidate(name, row, found)
    return found


def named(name: str, **settings: Any) -> Candidate:
    """The candidate that a registered closed-form model or a published name stands for."""
    if name in names("linear"):
        return LinearCandidate(name, name, **settings)
    try:
        split_name(name)
    except ConfigError:
        known = [*names("linear"), *names("backbone")]
        raise ConfigError(unknown_name("model", name, known)) from None
    return GraphCandidate(name, name, **settings)


def read_candidate(
    name: str, row: Mapping[str, Any] | None, candidates: Mapping[str, Candidate] | None = None
) -> Candidate:
    """A candidate from its row in a file of arms.

    Args:
        name (str): What the study calls it.
        row (mapping, optional): ``model`` (default: the name), and the arguments of
            :class:`Candidate`; a range is two numbers, a list, or ``{low, high, log}``. Or
            ``blend``, a list of names.
        candidates (mapping, optional): Those that a blend may name. (default: registered ones)

    Raises:
        ConfigError: If a name is unknown.
    """
    if row is not None and not isinstance(row, Mapping):
        raise ConfigError(f"{name}: a model must be described by fields, got {row!r}.")
    row = dict(row or {})
    known = ["model", "blend", "settings", "search", "without_text", "against", "splits", "seeds"]
    for key in row:
        if key not in known:
            raise ConfigError(f"{name}: {unknown_name('field', key, known)}")
    _check(name, row)
    if "blend" in row:
        return _read_blend(name, row, candidates)
    search = row.pop("search", None)
    if search is not None:
        row["search"] = {p: None if r is None else Range.read(r) for p, r in search.items()}
    return replace(named(row.pop("model", name), **row), name=name)


def _check(name: str, row: Mapping[str, Any]) -> None:
    """Refuses what a model's fields cannot be."""
    if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        raise ConfigError(f"A model's name must be text without '/', as it names files: {name!r}.")
    for key, kind, what in (
        ("model", str, "a name"),
        ("against", str, "a name"),
        ("settings", Mapping, "settings by path"),
        ("search", Mapping, "ranges by path"),
        ("without_text", str | Mapping, "a name, or settings by path"),
    ):
        if (value := row.get(key)) is not None and not isinstance(value, kind):
            raise ConfigError(f"{name}: {key!r} must be {what}, got {value!r}.")
    for key in ("splits", "seeds"):
        value = row.get(key)
        if value is not None and (type(value) is not int or value < 1):
            raise ConfigError(f"{name}: {key!r} must be a whole number from 1 on, got {value!r}.")


def _read_blend(
    name: str, row: Mapping[str, Any], candidates: Mapping[str, Candidate] | None
) -> Candidate:
    parts = row["blend"]
    names_alone = isinstance(parts, list) and all(isinstance(part, str) for part in parts)
    if not names_alone or not parts or set(row) - {"blend", "against", "splits", "seeds"}:
        raise ConfigError(
            f"{name}: 'blend' must be names, beside 'against', 'splits' and 'seeds' alone."
        )
    if twice := [part for part in parts if parts.count(part) > 1]:
        raise ConfigError(f"{name}: 'blend' names {twice[0]!r} more than once.")
    found = tuple((candidates or {}).get(part) or named(part) for part in parts)
    splits = [part.splits for part in found if part.splits]
    seeds = [part.seeds for part in found if part.seeds]
    return BlendCandidate(
        name,
        "blend",
        splits=row.get("splits", min(splits, default=None)),
        seeds=row.get("seeds", min(seeds, default=None)),
        parts=found,
        against=row.get("against"),
    )
