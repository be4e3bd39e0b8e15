r"""What differences between texts are worth: bootstrap intervals over the same users."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..study.statistics import holm, verdict
from .config import JudgeConfig
from .data import TITLE
from .judging import ADDS, INTERACTIONS, METRICS, RETRIEVAL, Arm, Findings, Key

#: Share of the reference that counts as no difference.
MARGIN = 0.01
#: What an arm is compared with.
PERMUTED, TITLES, ALONE, ONE_VIEW = "permuted", "titles", "interactions", "without intents"


class Comparison(NamedTuple):
    r"""An arm against another, by one metric.

    Args:
        judgement (str): ``"retrieval"`` or ``"adds"``.
        text, intents, encoder (str): The arm.
        against (str): What it is compared with.
        metric (str): By which metric.
        mean, low, high (float): The arm's value, and its 95 % interval.
        reference (float): The value of what it is compared with.
        change, change_low, change_high (float): In percent of the reference; NaN where that is 0.
        p (float): Of no difference, from the spread of the resamples.
        p_holm (float): Corrected for the number of comparisons by the first metric; else NaN.
        verdict (str): "gain", "loss", "no difference" where the whole interval is within 1 % of the
            reference, or "undecided"; by the first metric.
    """

    judgement: str
    text: str
    intents: str
    encoder: str
    against: str
    metric: str
    mean: float
    low: float
    high: float
    reference: float
    change: float
    change_low: float
    change_high: float
    p: float
    p_holm: float
    verdict: str


def compare(findings: Findings, config: JudgeConfig) -> list[Comparison]:
    r"""Every comparison by every metric: with permuted texts, with interactions alone, with titles
    alone and with the first other text by the same encoder, with the text without intents, with
    the same text by the first encoder. Users are drawn with replacement, the same for both sides.
    """
    keys = list(findings.values)
    place = {key: at for at, key in enumerate(keys)}
    values = np.stack([findings.values[key] for key in keys], axis=1)  # [U, K, metrics]
    means, drawn = values.mean(axis=0), _resampled(values, config)
    pairs, found = list(_pairs(findings)), []
    for at, metric in enumerate(METRICS):
        sides = [(place[key], place[reference]) for key, _, reference in pairs]
        raw = [
            _pvalue(drawn[:, one, at] - drawn[:, two, at], float(means[one, at] - means[two, at]))
            for one, two in sides
        ]
        corrected = holm(raw) if at == 0 else np.full(len(raw), np.nan)
        for pair, (one, two), p, p_holm in zip(pairs, sides, raw, corrected, strict=True):
            ours, theirs, base = drawn[:, one, at], drawn[:, two, at], float(means[two, at])
            change = change_low = change_high = np.nan
            if base:
                change = 100 * (float(means[one, at]) / base - 1)
                some = theirs > 0
                change_low, change_high = _interval(100 * (ours[some] / theirs[some] - 1))
            low, high = _interval(ours)
            said = verdict(*_interval(ours - theirs), base, p_holm, MARGIN) if at == 0 else ""
            (judgement, arm, _), against, _ = pair
            found.append(
                Comparison(
                    judgement=judgement,
                    text=arm.text,
                    intents=arm.intents,
                    encoder=arm.encoder,
                    against=against,
                    metric=metric,
                    mean=float(means[one, at]),
                    low=low,
                    high=high,
                    reference=base,
                    change=change,
                    change_low=change_low,
                    change_high=change_high,
                    p=p,
                    p_holm=float(p_holm),
                    verdict=said,
                )
            )
    return found


def _pairs(findings: Findings) -> Iterator[tuple[tuple[str, Arm, bool], str, Key]]:
    """An arm, what it is compared with in a word, and that."""
    arms = [key[1] for key in findings.values if isinstance(key[1], Arm)]
    arms = list(dict.fromkeys(arms))
    for judgement in (ADDS, RETRIEVAL):
        for arm in arms:
            own = judgement, arm, False
            if judgement == ADDS:
                yield own, ALONE, (ADDS, INTERACTIONS, False)
            yield own, PERMUTED, (judgement, arm, True)
            for other in arms:
                if against := _against(arm, other, arms):
                    yield own, against, (judgement, other, False)


def _against(arm: Arm, other: Arm, arms: list[Arm]) -> str:
    """What an arm is compared with if it is with another one, in a word."""
    if arm.encoder != other.encoder:
        same = (arm.text, arm.intents) == (other.text, other.intents)
        first = arms[0].encoder
        return f"encoder {first}" if same and other.encoder == first else ""
    if other.intents:
        return ""
    if arm.intents:
        return ONE_VIEW if other.text == arm.text else ""
    profiles = list(dict.fromkeys(each.text for each in arms if each.text != TITLE))
    if arm.text not in profiles:
        return ""
    first = profiles[0]
    return TITLES if other.text == TITLE else first if other.text == first != arm.text else ""


def _resampled(values: NDArray[np.float64], config: JudgeConfig) -> NDArray[np.float64]:
    """Means over users drawn with replacement, of shape ``(resamples, K, metrics)``."""
    rng, size = np.random.default_rng([config.seed, 2]), len(values)
    flat = values.reshape(size, -1)
    means = [
        np.bincount(rng.integers(0, size, size), minlength=size) @ flat / size
        for _ in range(config.resamples)
    ]
    return np.stack(means).reshape(config.resamples, *values.shape[1:])


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975)) if len(values) else (np.nan, np.nan)
    return float(low), float(high)


def _pvalue(difference: NDArray[np.float64], mean: float) -> float:
    """That of a normal distribution as wide as the resamples; their shares end at 1 in 2,000, which
    a correction for many comparisons would never pass.
    """
    width = float(difference.std())
    return float(2 * stats.norm.sf(abs(mean) / width)) if width else float(mean == 0)
