"""What a difference between two arms is worth: users and splits as random effects."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
GAIN, LOSS, SAME, OPEN = "gain", "loss", "no difference", "undecided"
VERDICTS = (GAIN, LOSS, SAME, OPEN)


class Estimate(NamedTuple):
    """A mean with its 95 % interval and the p-value of the hypothesis that it is zero."""

    mean: float
    low: float
    high: float
    pvalue: float


def crossed_mean(user: ArrayLike, split: ArrayLike, value: ArrayLike) -> Estimate:
    r"""The mean over users and splits, both of which are samples of what they stand for.

    The model is :math:`y_{us} = \mu + a_u + b_s + e_{us}` with random :math:`a, b, e`. With
    :math:`r = y - \hat\mu` and :math:`N` values, :math:`U` users and :math:`S` splits,

    .. math::
        V_U = \frac{U}{U - 1} \frac{\sum_u (\sum_s r_{us})^2}{N^2}, \quad
        V_S = \frac{S}{S - 1} \frac{\sum_s (\sum_u r_{us})^2}{N^2}, \quad
        V_E = \frac{N}{N - 1} \frac{\sum_{us} r_{us}^2}{N^2}, \quad
        V = \max(V_U + V_S - V_E, V_U, V_S)

    is the variance of the mean (`Cameron, Gelbach and Miller 2011
    <https://doi.org/10.1198/jbes.2010.07136>`_, clusters in two directions); users may be missing
    in splits, or be in one split alone. The interval is that of a t-distribution whose degrees of
    freedom follow Satterthwaite, so that five splits count as five. With one split, what holds is
    :math:`V_U`: the interval is over users alone.

    Args:
        user, split (array_like): Of each value, shape ``[N]``; a pair occurs once.
        value (array_like): Shape ``[N]``.
    """
    values = np.asarray(value, float)
    users, splits = pd.factorize(np.asarray(user))[0], pd.factorize(np.asarray(split))[0]
    mean, rest = values.mean(), values - values.mean()
    parts = [_cluster_variance(rest, groups) for groups in (users, splits)]
    known = [(variance, count - 1) for variance, count in parts if count > 1]
    if not known or not rest.any():
        same = len(values) > 1  # values that are all equal
        pvalue = (0.0 if mean else 1.0) if same else float("nan")
        end = mean if same else float("nan")
        return Estimate(float(mean), float(end), float(end), pvalue)
    total = max(variance for variance, _ in known)
    if len(known) == 2:
        own, _ = _cluster_variance(rest, np.arange(len(rest)))
        total = max(total, sum(variance for variance, _ in known) - own)
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in known)
    freedom = max(freedom, min(degrees for _, degrees in known))
    error = np.sqrt(total)
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    pvalue = 2 * stats.t.sf(abs(mean) / error, freedom)
    return Estimate(float(mean), float(mean - half), float(mean + half), float(pvalue))


def _cluster_variance(rest: NDArray[np.float64], group: NDArray[np.int64]) -> tuple[float, int]:
    """The variance of the mean where values of one group go together; the number of groups."""
    sums = np.bincount(group, rest)
    count = len(sums)
    scale = count / (count - 1) if count > 1 else 1.0
    return float(scale * (sums**2).sum() / len(rest) ** 2), count


def holm(pvalues: ArrayLike) -> NDArray[np.float64]:
    r"""p-values so corrected that the chance of any false finding among them stays what it was for
    one test (`Holm 1979 <https://www.jstor.org/stable/4615733>`_).

    The smallest of ``n`` is multiplied by ``n``, the next by ``n - 1`` and so on, and none comes
    out smaller than one before it, or larger than 1.

    Args:
        pvalues (array_like): Of shape ``[n]``; NaN stands for a test that was not made.

    Returns:
        Array of the same shape, NaN where ``pvalues`` is.
    """
    raw = np.asarray(pvalues, float)
    order = np.argsort(raw)[: np.count_nonzero(~np.isnan(raw))]  # NaN comes last
    corrected = np.full_like(raw, np.nan)
    steps = np.maximum.accumulate(raw[order] * np.arange(len(order), 0, -1))
    corrected[order] = np.minimum(steps, 1)
    return corrected


def verdict(low: float, high: float, reference: float, corrected: float, margin: float) -> str:
    """What a difference says, in a word.

    ``"no difference"``: the interval lies within the margin on both sides, whether zero is in it or
    not. ``"gain"`` and ``"loss"``: the corrected p-value is below .05. ``"undecided"``: otherwise,
    and where both arms find everything for everybody, as lists do that hold every candidate.

    Args:
        low, high (float): The interval of the difference.
        reference (float): The mean of what is compared with.
        corrected (float): The p-value after :func:`holm`.
        margin (float): Share of the reference that counts as nothing.
    """
    if reference == 1 and low == high == 0:
        return OPEN
    if -margin * reference <= low and high <= margin * reference:
        return SAME
    if corrected < 1 - LEVEL:
        return GAIN if low + high > 0 else LOSS
    return OPEN
