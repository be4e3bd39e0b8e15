"""Choosing the settings of an arm on validation, with the same budget for every arm."""

import json
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .ranges import Range

try:
    import optuna
    import pyarrow  # noqa: F401 # tables of users; it should not be missed after the first run
except ImportError as error:
    raise ImportError(
        f"irllrec study needs {error.name}: pip install 'irllrec_pyg[study]'."
    ) from error
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

optuna.logging.set_verbosity(optuna.logging.WARNING)
Settings = dict[str, Any]
PRUNED = "stopped early: it fell behind the others"
WAITING = optuna.trial.TrialState.WAITING
GRACE = 5  # seconds after which a lock counts as left behind by a killed process
#: What a model says of settings that do not work; such a trial counts, and has no value.
FAILURES = (ValueError, ArithmeticError, MemoryError, RuntimeError)


class Tuning(NamedTuple):
    """What was chosen.

    Args:
        settings (dict): The best settings, by path.
        value (float): Their value on validation.
        trials (int): How many were tried.
        seconds (float): Time of all trials.
        edges (list of str): Settings whose best value lies at an end of what was searched.
        tried (list of dict): Every trial, in order: settings, value, seconds or what went wrong.
    """

    settings: Settings
    value: float
    trials: int
    seconds: float
    edges: list[str]
    tried: list[dict[str, Any]]


def tune(
    ranges: Mapping[str, Range],
    measure: Callable[..., float],
    file: Path,
    *,
    trials: int,
    seconds: float | None = None,
    seed: int = 0,
    starts: Sequence[Settings] = (),
    report: Callable[[], object] = lambda: None,
    prune: bool = False,
) -> Tuning:
    """Looks for the settings with the greatest value, by Optuna's tree-structured Parzen estimator.

    A range whose end holds the best value so far is widened there, as far as the setting's bounds
    go. A search that was killed goes on: each trial is drawn from a seed of its own, so that the
    interruption changes nothing.

    Args:
        ranges (mapping): What is searched, by path; nothing: one trial is enough.
        measure (callable): The value of settings; with ``prune`` it gets a second argument, a
            function to call with each step and its value so far.
        file (Path): Optuna's journal, which keeps every trial.
        trials (int): Budget.
        seconds (float, optional): No trial begins after so long a time of trials. (default: never)
        seed (int, optional): Of the draws. (default: ``0``)
        starts (sequence of dict, optional): Settings to try first, in this order.
            (default: none)
        report (callable, optional): Is called after each trial.
        prune (bool, optional): Whether to stop a trial whose best value so far lies below the
            median of the others' at the same step; see :class:`optuna.pruners.MedianPruner`.
            (default: ``False``)

    Raises:
        RuntimeError: If no trial has a value; the last failure is named.
        ValueError: If there is no budget, or the journal is damaged.
    """
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise ValueError(f"'trials' must be a whole number from 1 on, got {trials!r}.")
    study = open_journal(file)
    for left in study.get_trials(deepcopy=False):
        if left.state == optuna.trial.TrialState.RUNNING:  # a killed process left it
            study.tell(left.number, state=optuna.trial.TrialState.FAIL)
    budget = trials if any(r.choices or r.low < r.high for r in ranges.values()) else 1
    while True:
        done = _done(study)
        spent = sum(trial.user_attrs["seconds"] for trial in done)
        if len(done) >= budget or (done and seconds is not None and spent >= seconds):
            break
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=max(3, budget // 4), seed=seed + 7919 * len(done)
        )
        if len(done) < len(starts) and not study.get_trials(states=(WAITING,)):
            start = starts[len(done)]
            study.enqueue_trial({path: found for path, found in start.items() if path in ranges})
        current = _widened(ranges, done)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first values may lie outside of the ranges
            trial = study.ask()
            chosen = {path: found.suggest(trial, path) for path, found in current.items()}
        trial.set_user_attr("settings", json.dumps(chosen))
        begin, failure = time.perf_counter(), ""
        try:
            value = measure(chosen, _watching(trial)) if prune else measure(chosen)
            if math.isnan(value):  # Optuna would forget the trial, and the search never end
                raise ValueError("its value is NaN: is there anything to validate on?")
        except FAILURES as error:
            failure = f"{type(error).__name__}: {error}"[:500]
        except optuna.TrialPruned:
            failure = PRUNED
        trial.set_user_attr("seconds", time.perf_counter() - begin)
        if failure:
            trial.set_user_attr("error", failure)
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
        report()
    return _result(ranges, done)


def open_journal(file: Path) -> optuna.Study:
    """The search that is kept in a file, which is made where it is missing.

    Raises:
        ValueError: If the file is damaged.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    _drop_torn_line(file)
    # A file and no link: one to a relative path leads nowhere, and then has no age to give up by.
    lock = JournalFileOpenLock(str(file), grace_period=GRACE)
    try:
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(file), lock)),
            study_name="tuning",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        )
    except (ValueError, KeyError, TypeError) as error:  # what is no line of JSON, or no record
        raise ValueError(
            f"{file} is damaged ({error}): delete it, and the search begins anew."
        ) from error


def _watching(trial: optuna.Trial) -> Callable[[int, float], None]:
    """Stops a trial that falls behind the others."""

    def watch(step: int, value: float) -> None:
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned

    return watch


def _drop_torn_line(file: Path) -> None:
    """Takes off what a crash left of a last line: the next one would be written behind it."""
    if file.exists() and not (content := file.read_bytes()).endswith(b"\n"):
        os.truncate(file, content.rfind(b"\n") + 1)


def _done(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Finished trials in order; one that was told to have failed by a later process is none."""
    states = optuna.trial.TrialState
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state == states.COMPLETE
        or (trial.state == states.FAIL and "error" in trial.user_attrs)
    ]


def _settings(trial: optuna.trial.FrozenTrial) -> Settings:
    found: Settings = json.loads(trial.user_attrs["settings"])
    return found


def _widened(ranges: Mapping[str, Range], done: list[optuna.trial.FrozenTrial]) -> dict[str, Range]:
    """The ranges, widened by each trial that was the best when it was made."""
    best: list[Settings] = []
    value = -float("inf")
    for trial in done:
        if trial.value is not None and trial.value > value:
            value = trial.value
            best.append(_settings(trial))
    return {path: own.widened([one[path] for one in best]) for path, own in ranges.items()}


def _result(ranges: Mapping[str, Range], done: list[optuna.trial.FrozenTrial]) -> Tuning:
    tried = [
        {
            "settings": _settings(trial),
            "value": trial.value,
            "seconds": round(trial.user_attrs["seconds"], 3),
            **({"error": trial.user_attrs["error"]} if "error" in trial.user_attrs else {}),
        }
        for trial in done
    ]
    valued = [row for row in tried if row["value"] is not None]
    if not valued:
        raise RuntimeError(f"None of {len(tried)} trials worked; the last: {tried[-1]['error']}")
    best = max(valued, key=lambda row: row["value"])
    values = {path: [row["settings"][path] for row in valued] for path in ranges}
    edges = [
        path
        for path, own in ranges.items()
        if not own.choices
        and own.low < own.high
        and best["settings"][path] in (min(values[path]), max(values[path]))
    ]
    spent = sum(row["seconds"] for row in tried)
    return Tuning(best["settings"], best["value"], len(tried), spent, edges, tried)
