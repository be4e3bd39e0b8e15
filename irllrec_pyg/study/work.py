"""The work of a study: which arms there are, and the tuning and the reported runs of each."""

import gc
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData

from ..config import ConfigError
from ..provenance import checkout
from ..ranking import Ranker
from .arms import Arm
from .candidates import BlendCandidate, Settings
from .config import TUNED_BY, TUNING_SEED, TUNING_SPLIT, StudyConfig
from .inputs import Inputs
from .measure import Measured, measure
from .tuning import FAILURES, Tuning, tune
from .units import Units, short_hash


class Work:
    """Tunes and reports arms, each piece once.

    Args:
        units (Units): Where the pieces are kept.
        inputs (Inputs): The graphs.
        rules (StudyConfig): The rules.
        report (callable, optional): Is called after each step. (default: nothing)
        say (callable, optional): Gets what a person should know. (default: :func:`print`)
    """

    def __init__(
        self,
        units: Units,
        inputs: Inputs,
        rules: StudyConfig,
        report: Callable[[], object] = lambda: None,
        say: Callable[[str], object] = print,
    ) -> None:
        self.units, self.inputs, self.rules = units, inputs, rules
        self.report, self.say = report, say
        self._fitted: tuple[str, HeteroData | None, list[Ranker]] = ("", None, [])

    @cached_property
    def origin(self) -> dict[str, Any]:
        """What every row of this process says of where it was made."""
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
        return {**checkout(), "device": device, "threads": torch.get_num_threads()}

    def runs(self, arm: Arm) -> list[tuple[int, int]]:
        """Splits and seeds that are reported; the split of the tuning is none of them."""
        own, rules = arm.candidate, self.rules
        splits = min(own.splits or rules.splits, rules.splits)
        seeds = min(own.seeds or rules.seeds, rules.seeds) if own.is_random else 1
        reported = range(TUNING_SPLIT + 1, TUNING_SPLIT + 1 + splits)
        if arm.setting == "given":  # there is no other
            reported = range(TUNING_SPLIT, TUNING_SPLIT + 1)
        return [(split, seed) for split in reported for seed in range(seeds)]

    def steps(self, arm: Arm) -> int:
        """How many pieces an arm has."""
        return self.rules.trials + len(self.runs(arm))

    def do(self, arm: Arm) -> None:
        """Does what is left of an arm; what cannot be done is written down and passed over."""
        with self.units.alone(arm.unit) as free:
            if not free:
                self.say(f"{arm.words}: another process is at it.")
                return
            failed = f"{arm.unit}/failed"
            self.units.drop(failed)
            try:
                tuning = self.tuned(arm)
                for split, seed in self.runs(arm):
                    if self.finished(unit := _unit(arm, split, seed)) is None:
                        self._report(arm, unit, split, seed, tuning)
                    self.report()
            except (*FAILURES, ImportError) as error:
                self.say(f"{arm.words}: {error}")
                reason = f"{type(error).__name__}: {error}"[:1000]
                self.units.write(failed, {**_names(arm), "reason": reason})

    def finished(self, unit: str) -> dict[str, Any] | None:
        """What a unit holds; one that is damaged is not finished, and forgotten."""
        try:
            return self.units.read(unit)
        except ConfigError as error:
            self.say(str(error))
            self.units.drop(unit)
            return None

    def parts(self, arm: Arm) -> list[Arm]:
        """The arms that a blend is made of, or none."""
        if not isinstance(arm.candidate, BlendCandidate):
            return []
        return [
            replace(
                arm, model=part.name, candidate=part, text=arm.text if part.takes_text else "none"
            )
            for part in arm.candidate.parts
        ]

    def tuned(self, arm: Arm) -> dict[str, Any]:
        """The settings of an arm, chosen on validation of the first split."""
        unit = f"{arm.unit}/tuning"
        if (found := self.finished(unit)) is not None:
            return found
        arm.candidate.check(self.inputs.graph(arm.data, arm.setting, TUNING_SPLIT, arm.text))
        for part in self.parts(arm):
            with self.units.alone(part.unit, wait=True):
                self.tuned(part)
        data = self.inputs.graph(arm.data, arm.setting, TUNING_SPLIT, arm.text)
        starts = arm.candidate.starts(data)
        if isinstance(arm.candidate, BlendCandidate):
            with self.units.scratch(f"{unit}/parts") as folder:
                rankers = self._rankers(arm, data, TUNING_SEED, folder)
            starts[1:1] = arm.candidate.learned(rankers, data)

        def value(settings: Settings) -> float:
            return self._run(arm, data, settings, TUNING_SEED, "val", unit)[0].means()[TUNED_BY]

        tuning: Tuning = tune(
            arm.candidate.ranges(data),
            value,
            self.units.folder / "tuning" / f"{arm.unit.replace('/', '.')}.log",
            trials=self.rules.trials,
            seconds=self.rules.seconds,
            seed=TUNING_SEED,
            starts=starts,
            report=self.report,
        )
        content = {**_names(arm), "split": TUNING_SPLIT, **tuning._asdict(), **self.origin}
        self.units.write(unit, content)
        return content

    def _report(
        self, arm: Arm, unit: str, split: int, seed: int, tuning: Mapping[str, Any]
    ) -> None:
        data = self.inputs.graph(arm.data, arm.setting, split, arm.text)
        measured, seconds = self._run(arm, data, tuning["settings"], seed, "test", unit)
        row = {
            **_names(arm),
            "split": split,
            "seed": seed,
            "metrics": {k: v for k, v in measured.means().items() if v == v},
            "users": len(measured.users),
            "fit_seconds": seconds,
            "tuning_seconds": tuning["seconds"],
            "settings": tuning["settings"],
            **self.inputs.origin(data, arm.data, arm.setting, split, arm.text),
            **self.origin,
        }
        self.units.write(unit, row, measured.users)

    def _run(
        self, arm: Arm, data: HeteroData, settings: Settings, seed: int, phase: str, unit: str
    ) -> tuple[Measured, float]:
        begin = time.perf_counter()
        with self.units.scratch(f"{unit}/{seed}-{short_hash(settings)}") as folder:
            ranker = self._ranker(arm, data, settings, seed, folder)
            if phase == "test":
                ranker = arm.candidate.finished(ranker, data)
            seconds = time.perf_counter() - begin
            measured = measure(ranker, data, arm.setting, phase, self.rules.groups)
        del ranker
        if arm.candidate.is_random:  # Lightning's models refer to themselves
            gc.collect()
        return measured, seconds

    def _ranker(
        self, arm: Arm, data: HeteroData, settings: Settings, seed: int, folder: Path
    ) -> Ranker:
        candidate = arm.candidate
        if not isinstance(candidate, BlendCandidate):
            return candidate.fit(data, settings, seed, folder)
        return candidate.blend(self._rankers(arm, data, seed, folder), settings)

    def _rankers(self, arm: Arm, data: HeteroData, seed: int, folder: Path) -> list[Ranker]:
        """The parts of a blend, as they were tuned."""
        unit, known, rankers = self._fitted
        if unit != arm.unit or known is not data:
            rankers = [
                part.candidate.finished(
                    self._ranker(part, data, self._chosen(part), seed, folder / str(at)), data
                )
                for at, part in enumerate(self.parts(arm))
            ]
            # The trials of a weight share the parts; reported runs have a graph each.
            kept = seed == TUNING_SEED
            self._fitted = (arm.unit, data, rankers) if kept else ("", None, [])
        return rankers

    def _chosen(self, arm: Arm) -> Settings:
        settings: Settings = (self.units.read(f"{arm.unit}/tuning") or {})["settings"]
        return settings


def _names(arm: Arm) -> dict[str, Any]:
    return {"data": arm.data, "setting": arm.setting, "model": arm.candidate.name, "text": arm.text}


def _unit(arm: Arm, split: int, seed: int) -> str:
    return f"{arm.unit}/split-{split}_seed-{seed}"
