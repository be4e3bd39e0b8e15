"""Ranges of settings: what they are read from, and how far they widen."""

import math

import pytest

from irllrec_pyg.config import Config, ConfigError, field
from irllrec_pyg.study.ranges import Range


class Example(Config):
    reg: float = field(1.0, gt=0, search=(1.0, 100.0), log=True, help="log, open at zero")
    share: float = field(0.9, gt=0, le=1, search=(0.5, 1.0), help="a share")
    size: int = field(8, ge=1, search=(2, 32), log=True, help="whole")
    word: str = field("a", search=("a", "b"), help="words")
    plain: int = field(1, help="not searched")


def of(name, **more):
    return Range.of(Example.model_fields[name], **more)


def test_ranges_come_from_what_settings_declare():
    assert (of("reg").low, of("reg").high, of("reg").log) == (1.0, 100.0, True)
    assert of("word").choices == ("a", "b")
    assert of("plain") is None
    assert of("size", most=20).high == 20


def test_a_range_widens_where_the_best_value_is_at_an_end():
    own = of("reg")
    wider = own.widened([99.0])
    assert (wider.low, wider.high) == (1.0, pytest.approx(1000.0))  # half of two powers of ten
    assert own.widened([99.0, 990.0]).high == pytest.approx(10_000.0)
    assert own.widened([99.0, 10.0]) == wider
    assert own.widened([10.0]) == own
    assert own.widened([1.0]).low == pytest.approx(0.1)


def test_a_range_ends_at_the_bounds_of_its_setting():
    assert of("share").widened([1.0]) == of("share")
    assert 0 < of("share").widened([0.5, 0.25, 0.25]).low == 0.25
    size = of("size").widened([2])
    assert (size.low, size.high, size.whole) == (1, 32, True)
    assert of("size", most=40).widened([32]).high == 40
    assert of("word").widened(["a"]) == of("word")


def test_ranges_of_a_file():
    assert Range.read([1, 5]).whole
    assert not Range.read([1, 5.0]).whole
    assert Range.read({"low": 0.1, "high": 1, "log": True}).log
    assert Range.read([1, 2, 4]).choices == (1, 2, 4)
    assert Range.read([True, False]).choices == (True, False)
    for wrong in ([2, 1], {"low": 0, "high": 1, "log": True}, {"low": 1}, {"lo": 1, "high": 2}):
        with pytest.raises(ConfigError, match="A range must"):
            Range.read(wrong)
    assert Range.read([0.0, 1.0]).least == -math.inf


def test_a_grid_takes_values_from_end_to_end():
    assert Range(1.0, 10.0, log=True).grid() == [1.0, 2.0, 4.0, 8.0]
    assert Range(0.0, 1.0).grid() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert Range(1, 3).grid() == [1, 2, 3]
    assert Range(0, 100).grid() == [0, 25, 50, 75, 100]
    assert Range(2, 2).grid() == [2]
    assert Range(choices=("a", "b")).grid() == ["a", "b"]
