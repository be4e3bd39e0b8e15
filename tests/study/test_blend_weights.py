"""Weights of an ensemble that are given, beside those that are searched."""

import pytest

from irllrec_pyg.config import ConfigError
from irllrec_pyg.ranking import Blend, learn_weights

pytest.importorskip("optuna")
from irllrec_pyg.study.candidates import NOTHING, BlendCandidate, LinearCandidate
from irllrec_pyg.study.tuned import search


def test_given_weights_stay_and_the_others_are_learnt(tiny_data):
    parts = tuple(LinearCandidate(name, name) for name in ("ease", "popularity", "item-knn"))
    blend = BlendCandidate("three", "blend", parts=parts)
    given = {"weights.popularity": 0.5}
    found = search(blend, tiny_data, settings=given, trials=3, progress=False)
    tried = found.searches["three"].tried
    rankers = found.ranker.rankers()
    learnt = learn_weights(Blend(*rankers), tiny_data)
    assert tried[1]["settings"] == {
        "weights.ease": max(learnt[0], NOTHING),
        "weights.item-knn": max(learnt[2], NOTHING),
    }
    every = {f"weights.{part.name}": 0.5 for part in parts}
    whole = search(blend, tiny_data, settings=every, trials=2, progress=False).ranker
    assert whole.shares == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("value", ["much", -1.0, float("nan"), float("inf"), True, None])
def test_weights_are_numbers_from_0_on(value):
    blend = BlendCandidate("one", "blend", parts=(LinearCandidate("ease", "ease"),))
    with pytest.raises(ConfigError, match=r"'weights\.ease' must be a finite number from 0 on"):
        blend.fixed({"weights.ease": value})
