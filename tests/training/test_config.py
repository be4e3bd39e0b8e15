import inspect

import pytest
import torch

from irllrec_pyg.config import Config, ConfigError, bounds_of, field
from irllrec_pyg.published import build_model
from irllrec_pyg.registry import Configured
from irllrec_pyg.training import Identity, TrainingConfig, fit

from .runs import train


def test_one_value_and_any_sequence_stand_for_the_same():
    one = TrainingConfig(k=20, metrics="recall", num_neighbors=5)
    for kind in (list, tuple):
        many = TrainingConfig(k=kind([20]), metrics=kind(["recall"]), num_neighbors=kind([5]))
        assert many == one
    assert (one.k, one.metrics, one.num_neighbors) == ((20,), ("recall",), (5,))
    assert TrainingConfig(devices=[0, 1]).num_devices == 2
    assert TrainingConfig(devices="auto").num_devices == "auto"
    assert TrainingConfig(precision=32).precision == "32"
    assert TrainingConfig(**one.to_dict()) == one  # from JSON and YAML


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "'lr' must be greater than 0"),
        ({"lr": float("nan")}, "'lr' must be a finite number|'lr' must be greater"),
        ({"lr": "0.1"}, "'lr' must be a number"),
        ({"epochs": 2.5}, "'epochs' must be a whole number"),
        ({"batch_size": 0}, "'batch_size' must be at least 1"),
        ({"num_negatives": True}, "'num_negatives' must be a whole number"),
        ({"checkpoint_every": 0}, "'checkpoint_every' must be at least 1"),
        ({"k": (5, "20")}, r"'k\.1' must be a whole number"),
        ({"k": ()}, "'k' must be at least 1 value"),
        ({"k": [0]}, r"'k\.0' must be at least 1, got 0"),
        ({"metrics": [3]}, r"'metrics\.0' must be text"),
        ({"metrics": "recal"}, "Unknown metric 'recal'; did you mean 'recall'"),
        ({"num_neighbors": [5, 0]}, r"'num_neighbors' must be at least 1 for .*got \[5, 0\]"),
        ({"num_neighbors": []}, "'num_neighbors' must be at least 1 value"),
        ({"seed": -1}, "'seed' must be at least 0"),
        ({"seed": 2**64}, "'seed' must be less than"),
        ({"lr": 1e10}, "'lr' must be at most 10"),
        ({"devices": 0}, "'devices' must be how many"),
        ({"devices": True}, "'devices' must be how many, their numbers, or 'auto', got True"),
        ({"devices": [0, -1]}, "'devices' must be how many"),
        ({"epoch": 3}, "did you mean 'epochs'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig(**settings)


def test_every_setting_has_help_and_stands_in_the_docstring_of_fit():
    for name, info in TrainingConfig.model_fields.items():
        assert info.description, name
        assert f"{name} (" in inspect.getdoc(fit)
        if info.annotation in (int, float) and name != "seed":
            assert bounds_of(info), name


def test_a_configuration_a_mapping_and_keywords_train_the_same(sample):
    def numbers(*config, **settings):
        torch.manual_seed(0)
        model = build_model("lightgcn", sample, dataset="movie", keep_rate=0.7)
        history = fit(model, sample, *config, **settings, progress=False).history
        return history["loss"].tolist()

    values = {"epochs": 2, "batch_size": 700, "seed": 3, "k": 20}
    expected = numbers(**values)
    assert len(expected) == 2
    assert numbers(TrainingConfig(**values)) == expected
    assert numbers(values) == expected
    assert numbers(TrainingConfig(**values).replace(seed=4), seed=3) == expected
    assert numbers(values, seed=4) != expected


def test_a_misspelt_setting_is_named(tiny_data):
    with pytest.raises(ConfigError, match="Unknown setting 'acelerator'; did you mean 'accel"):
        train(tiny_data, "lightgcn", acelerator="cpu")


def test_what_a_stored_identity_lacks_counts_as_the_default(tiny_data):
    class Old(Config):
        width: int = field(3, help="width")

    class New(Old):
        depth: int = field(2, help="added later")

    def identity(description, **settings):
        class Part(Configured, torch.nn.Linear):
            kind = "test"

        model = torch.nn.Sequential(Part(2, 2))
        model[0].config = description
        return Identity(model, tiny_data, TrainingConfig(**settings))

    stored = identity(Old()).values
    assert identity(New()).differences(stored) == []
    assert identity(New(depth=4)).differences(stored) == ["model.0.depth is 2 there and 4 here"]
    assert identity(New(width=4)).differences(stored) == ["model.0.width is 3 there and 4 here"]
    # A setting of training that 0.2.0 did not have yet.
    del stored["num_negatives"], stored["devices"]
    assert identity(Old()).differences(stored) == []
    assert identity(Old(), num_negatives=2).differences(stored) == [
        "num_negatives is 1 there and 2 here"
    ]
    # One that the package has no longer, and one that is longer, but the same.
    stored["momentum"] = 0.9
    assert identity(Old(), epochs=7, checkpoint_every=2).differences(stored) == [
        "momentum is 0.9 there and not set here"
    ]


def test_modules_without_a_configuration_are_told_apart(tiny_data):
    def model(slope, kind=torch.nn.LeakyReLU):
        return torch.nn.Sequential(torch.nn.Linear(2, 2), kind(slope))

    stored = Identity(model(0.1)).values
    assert Identity(model(0.1)).differences(stored) == []
    assert Identity(model(0.2)).differences(stored) == [
        "model.1.negative_slope is 0.1 there and 0.2 here"
    ]
    assert Identity(model(0.1, torch.nn.ELU)).differences(stored) == [
        "class of model.1 is LeakyReLU there and ELU here"
    ]
    (shape, *_) = Identity(torch.nn.Sequential(torch.nn.Linear(3, 2))).differences(stored)
    assert "model.0.in_features is 2 there and 3 here" in shape
