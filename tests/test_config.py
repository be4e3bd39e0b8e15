"""Configurations: checked when they are made, and the same after writing and reading."""

import copy
import json
import math
import pickle
from typing import Literal

import pytest

from irllrec_pyg.config import Config, ConfigError, field, read_scalar, read_yaml, write_yaml
from irllrec_pyg.nn import LightGCN, ModelConfig
from irllrec_pyg.registry import lookup, names
from irllrec_pyg.runs import RunConfig


class Inner(Config):
    weight: float = field(0.5, ge=0, help="weight")


class Layers(Config):
    num_layers: int = field(3, ge=0, le=8, help="number of propagations")
    rate: float = field(0.1, gt=0, le=1, help="share")
    kind: Literal["dot", "cosine"] = field("dot", help="kind")
    loops: bool = field(True, help="loops")
    inner: Inner | None = field(None, help="part")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_layers": -1}, "'num_layers' must be at least 0, got -1."),
        ({"num_layers": 9}, "'num_layers' must be at most 8, got 9."),
        ({"num_layers": "2"}, "'num_layers' must be a whole number, got '2'."),
        ({"num_layers": 2.0}, "'num_layers' must be a whole number, got 2.0."),
        ({"num_layers": True}, "'num_layers' must be a whole number, got True."),
        ({"rate": 0}, "'rate' must be greater than 0"),
        ({"rate": math.nan}, "'rate' must be a finite number, got nan."),
        ({"rate": math.inf}, "'rate' must be a finite number, got inf."),
        ({"rate": "high"}, "'rate' must be a number, got 'high'."),
        ({"kind": "euclid"}, "'kind' must be 'dot' or 'cosine', got 'euclid'."),
        ({"loops": 1}, "'loops' must be true or false, got 1."),
        ({"depth": 2}, "Unknown field 'depth'; there are num_layers, rate, kind, loops, inner."),
        ({"num_layer": 2}, "Unknown field 'num_layer'; did you mean 'num_layers'?"),
        ({"inner": {"weight": -1}}, "'inner.weight' must be at least 0, got -1."),
        ({"inner": {"wait": 1}}, "Unknown field 'inner.wait'; did you mean 'weight'?"),
    ],
)
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(ConfigError) as caught:
        Layers(**values)
    assert message in str(caught.value)


class Other(Config):
    rate: float = field(0.5, gt=0, help="another share")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (3, "Layers must be made of settings by name, got 3."),
        (["rate"], "Layers must be made of settings by name, got ['rate']."),
        (Other(rate=0.9), "Layers must be made of settings by name, got Other(rate=0.9)."),
        ({1: 2}, "Unknown field '1'; there are num_layers"),
        ({"inner": [1]}, "'inner' must be settings by name"),
    ],
)
def test_what_is_no_set_of_settings_is_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        Layers.read(values)
    assert message in str(caught.value)


def test_equal_configurations_are_one_in_a_set_and_survive_pickling():
    for config in (Layers(inner={"weight": 1}), ModelConfig(heads={"intent": {}}), RunConfig()):
        for again in (
            pickle.loads(pickle.dumps(config)),
            copy.deepcopy(config),
            type(config).read(json.loads(json.dumps(config.to_dict()))),
        ):
            assert {config, again} == {config}
            assert again.to_dict() == config.to_dict()
    assert len({ModelConfig(), ModelConfig(backbone="sgl"), ModelConfig(heads=["profile"])}) == 3


def test_values_and_configurations_are_read_and_replaced():
    config = Layers.read({"num_layers": 2}, rate=0.5)
    assert (config.num_layers, config.rate, config.kind) == (2, 0.5, "dot")
    assert Layers.read(config) is config
    assert config.replace(num_layers=4).rate == 0.5
    assert Layers.read(config, inner={"weight": 2}).inner == Inner(weight=2)
    with pytest.raises(ConfigError, match="at least 0"):
        config.replace(num_layers=-1)
    with pytest.raises(ValueError, match="frozen"):
        config.num_layers = 5


def test_yaml_gives_back_what_it_was_given(tmp_path):
    config = Layers(rate=1e-7, inner={"weight": 3})
    write_yaml(tmp_path / "a.yaml", config.to_dict())
    assert Layers.read(read_yaml(tmp_path / "a.yaml")) == config
    (tmp_path / "a.yaml").write_text("rate: 1e-7\nnum_layers: 1\n")  # PyYAML's own 1e-7 is text
    assert Layers.read(read_yaml(tmp_path / "a.yaml")) == Layers(rate=1e-7, num_layers=1)
    for text, message in (
        ("- 1", "settings by name, got list"),
        ("a: [", "is not YAML"),
        ("rate: 0.1\nnum_layers: 1\nrate: 0.2", r"'rate' is given twice(.|\n)*line 3"),
        ("inner: {weight: 1, weight: 2}", "'weight' is given twice"),
    ):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("1e-7", 1e-7), ("-.5E3", -500.0), ("true", True), ("null", None), ("sgl", "sgl"),
     ("[1, 2]", [1, 2]), ("a: [", "a: ["), ("no", "no"), ("on", "on"), ("1:30", "1:30"),
     ("010", "010"), ("1_000", "1_000"), ("2020-01-01", "2020-01-01"), ("-3", -3), ("1.", 1.0),
     ("~", None), ("", None), ("False", False), ("{a: 1, a: 2}", "{a: 1, a: 2}")],
)  # fmt: skip
def test_scalars_of_a_command_line(text, value):
    assert read_scalar(text) == value
    assert type(read_scalar(text)) is type(value)


@pytest.mark.parametrize("kind", ["backbone", "head", "ranking-loss", "linear"])
def test_every_registered_setting_has_a_help_a_default_within_its_bounds_and_a_type(kind):
    assert names(kind)
    for name in names(kind):
        config = lookup(kind, name).Config
        values = config().to_dict()
        assert config.read(values) == config()  # defaults are valid where they are given
        for setting, info in config.model_fields.items():
            assert info.description, (name, setting)
            assert not info.description.endswith("."), (name, setting)
            assert not info.is_required(), (name, setting)
            search = (info.json_schema_extra or {}).get("search")
            for value in search or ():
                config.read({setting: value})


@pytest.mark.parametrize(
    "settings", [{"num_layers": -1}, {"embedding_size": 0}, {"num_layers": "2"}, {"keep_rate": 0}]
)
def test_nonsense_is_refused_before_anything_is_built(tiny_data, settings):
    with pytest.raises(ConfigError, match=f"'{next(iter(settings))}' must be"):
        LightGCN(tiny_data, **settings)


def test_a_setting_cannot_be_changed_after_building(tiny_data):
    backbone = LightGCN(tiny_data, num_layers=2)
    assert backbone.num_layers == 2
    with pytest.raises(AttributeError, match="'num_layers' is a setting of LightGCN"):
        backbone.num_layers = 3
