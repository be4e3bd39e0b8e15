"""The search for settings: its budget, its memory, and what it says."""

from pathlib import Path

import pytest

from irllrec_pyg.study import tuning
from irllrec_pyg.study.ranges import Range
from irllrec_pyg.study.tuning import tune

RANGES = {"a": Range(0.0, 1.0), "b": Range(1, 64, log=True)}


def value(settings):
    return -((settings["a"] - 0.3) ** 2) - abs(settings["b"] - 8)


class Killed(BaseException):
    """What a killed process is to the search."""


STARTS = [{"a": 0.5, "b": 4}, {"a": 0.25, "b": 2}]


def test_an_interrupted_search_ends_as_one_that_was_not(tmp_path):
    whole = tune(RANGES, value, tmp_path / "whole.log", trials=8, starts=STARTS)

    def interrupted(settings):
        calls.append(settings)
        if len(calls) in (1, 4, 6):
            raise Killed
        return value(settings)

    calls = []
    for _ in range(3):
        with pytest.raises(Killed):
            tune(RANGES, interrupted, tmp_path / "b.log", trials=8, starts=STARTS)
    found = tune(RANGES, interrupted, tmp_path / "b.log", trials=8, starts=STARTS)
    assert [row["settings"] for row in found.tried] == [row["settings"] for row in whole.tried]
    assert [row["settings"] for row in found.tried[:2]] == STARTS
    assert len(calls) == 8 + 3
    again = tune(RANGES, interrupted, tmp_path / "b.log", trials=8)
    assert again == found
    assert len(calls) == 8 + 3
    assert found.value == max(row["value"] for row in found.tried) == value(found.settings)


def test_a_trial_that_fails_counts_and_says_why(tmp_path):
    def measure(settings):
        if settings["a"] < 0.6:
            raise ValueError("too small")
        return settings["a"]

    found = tune(RANGES, measure, tmp_path / "t.log", trials=8)
    assert found.trials == 8
    failed = [row for row in found.tried if "error" in row]
    assert failed
    assert {row["error"] for row in failed} == {"ValueError: too small"}
    assert all(row["settings"]["a"] < 0.6 and row["value"] is None for row in failed)

    def never(settings):
        raise MemoryError("it needs 12 GB")

    with pytest.raises(RuntimeError, match="None of 3 trials worked; the last: MemoryError: it"):
        tune(RANGES, never, tmp_path / "never.log", trials=3)


def test_a_range_widens_until_the_best_lies_inside(tmp_path):
    ranges = {"x": Range(1.0, 10.0, log=True, most=500.0)}
    found = tune(ranges, lambda s: -abs(s["x"] - 60), tmp_path / "in.log", trials=25)
    assert 30 < found.settings["x"] < 120
    assert found.edges == []
    found = tune(ranges, lambda s: s["x"], tmp_path / "out.log", trials=12)
    assert found.settings["x"] > 100
    assert found.edges == ["x"]


def test_budgets(tmp_path):
    assert tune({}, lambda s: 1.0, tmp_path / "a.log", trials=9).trials == 1
    slow = tune(RANGES, value, tmp_path / "b.log", trials=9, seconds=1e-9)
    assert slow.trials == 1


def test_a_value_that_is_no_number_counts_as_a_failure(tmp_path):
    calls = []

    def nothing(settings):
        calls.append(settings)
        if len(calls) > 3:
            raise Killed  # the search would never end
        return float("nan")

    with pytest.raises(RuntimeError, match=r"None of 3 trials worked; .* NaN"):
        tune(RANGES, nothing, tmp_path / "t.log", trials=3)


@pytest.mark.parametrize("trials", [0, -1, "3", 2.0, True])
def test_a_budget_that_is_none(tmp_path, trials):
    with pytest.raises(ValueError, match="'trials' must be a whole number from 1 on"):
        tune(RANGES, value, tmp_path / "t.log", trials=trials)


def test_a_journal_that_a_crash_tore_goes_on(tmp_path):
    file = tmp_path / "t.log"
    tune(RANGES, value, file, trials=3)
    file.write_bytes(file.read_bytes()[:-10])  # the third trial has not ended
    assert tune(RANGES, value, file, trials=4).trials == 4
    file.write_bytes(file.read_bytes().replace(b"{", b"[", 1))
    with pytest.raises(ValueError, match=r"t\.log is damaged .*delete it"):
        tune(RANGES, value, file, trials=4)


def test_a_trial_that_falls_behind_is_stopped_and_counts(tmp_path):
    """Optuna's median rule: after three whole trials, a value below their median at a step."""
    seen = []

    def measure(settings, watch):
        curve = [settings["x"] * step for step in (1, 2, 3)]
        for step, value in enumerate(curve):
            watch(step, value)
            seen.append((settings["x"], step))
        return curve[-1]

    starts = [{"x": x} for x in (0.5, 0.6, 0.7, 0.1, 0.9)]
    ranges = {"x": Range(0.0, 1.0)}
    found = tune(ranges, measure, tmp_path / "log", trials=5, starts=starts, prune=True)
    assert [row["settings"]["x"] for row in found.tried] == [0.5, 0.6, 0.7, 0.1, 0.9]
    assert [row["value"] is None for row in found.tried] == [False] * 3 + [True, False]
    assert "fell behind" in found.tried[3]["error"]
    assert found.settings == {"x": 0.9}
    assert (0.1, 0) not in seen
    again = tune(ranges, measure, tmp_path / "log", trials=5, starts=starts, prune=True)
    assert again == found


def test_a_lock_that_a_killed_process_left_is_given_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a folder is often named from where the command is given
    monkeypatch.setattr(tuning, "GRACE", 3)
    file = Path("run", "a.log")
    left = tuning.open_journal(file)._storage._backend._lock
    assert left.acquire()
    assert len(tuning.open_journal(file).trials) == 0
    assert not Path("run", "a.log.lock").exists()
