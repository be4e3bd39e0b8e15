"""A whole run in one description."""

import pytest
import torch

from irllrec_pyg import RunConfig, build_model, run
from irllrec_pyg.checkpoint import load_model
from irllrec_pyg.config import ConfigError
from irllrec_pyg.training import TrainingConfig


def test_a_description_is_the_published_one_with_what_was_set():
    config = RunConfig.of("lightgcn_int", "movie", {"heads.profile.weight": 0.5})
    assert config.data.name == "movie"
    assert config.model.heads["profile"]["weight"] == 0.5
    assert config.model.heads["intent"]["pairwise"]["weight"] == 0.03
    assert config.model.heads["intent"]["translation"]["noise"] == "multiplicative"
    assert config.model.reg_weight == 1e-6
    assert (config.training.batch_size, config.training.patience) == (4096, 5)
    assert RunConfig.of("alpharec").training.num_negatives == 256


def test_one_file_repeats_a_run(tmp_path):
    settings = {"training.epochs": 2, "training.batch_size": 512, "training.seed": 3}
    config = RunConfig.of("sgl+profile", "sample", settings, root=tmp_path / "data")
    model, result = run(config, tmp_path / "a", progress=False)
    again = RunConfig.load(tmp_path / "a" / "config.yaml")
    assert again == config
    other, repeated = run(again, tmp_path / "b", progress=False)
    assert repeated.test == result.test
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    saved = load_model(tmp_path / "a" / "model.safetensors")
    assert saved.config.backbone == config.model.backbone
    users = torch.arange(600)
    torch.testing.assert_close(saved.score(users), model.score(users))
    assert list(saved.heads) == []  # they need texts, and ranking does not need them


def test_a_file_written_by_hand_needs_only_what_differs(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "data: {name: no}\n"
        "model:\n  backbone: sgl\n  heads: [profile, profile, intent]\n"
        "training: {k: 20, metrics: recall, num_neighbors: [10, 5], lr: 1e-3}\n"
    )
    config = RunConfig.load(path)
    assert config.data.name == "no"  # and not false, as in YAML 1.1
    assert list(config.model.heads) == ["profile", "profile-2", "intent"]
    assert config.training == TrainingConfig(k=[20], metrics=["recall"], num_neighbors=[10, 5])
    config.save(path)
    assert RunConfig.load(path) == config
    path.write_text("model: {heads: {profile: , mine: profile, profile-2: {weight: 1}}}")
    heads = RunConfig.load(path).model.heads
    assert {part["name"] for part in heads.values()} == {"profile"}
    assert [part["weight"] for part in heads.values()] == [0.01, 0.01, 1.0]


def test_settings_by_path_are_those_of_the_named_model():
    for settings, message in (
        ({"lr": 0.1}, "Unknown setting 'lr'; did you mean 'training.lr'?"),
        ({"trainin.lr": 0.1}, "Unknown setting 'trainin'; did you mean 'training'?"),
        ({"heads.profile.weight": 1}, "lightgcn: Unknown head 'profile'"),
        ({"reg_weight.x": 1}, "'reg_weight.x' is no setting: 'reg_weight' is a single value"),
        ({"backbone.num_layer": 1}, "did you mean 'num_layers'?"),
    ):
        with pytest.raises(ConfigError) as caught:
            RunConfig.of("lightgcn", "movie", settings)
        assert message in str(caught.value)
    with pytest.raises(ConfigError, match="has a head twice"):
        RunConfig.of("lightgcn+profile+profile")


def test_a_setting_of_training_is_not_lost_in_a_model(tiny_data):
    with pytest.raises(ConfigError, match=r"'training\.lr' is of training; pass it to 'fit'"):
        build_model("lightgcn", tiny_data, settings={"training.lr": 0.1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {backbone: {name: lightgcn, num_layers: -1}}", "'num_layers' must be at least 0"),
        ("model: {reg_weight: -1}", "'model.reg_weight' must be at least 0"),
        ("training: {epoch: 3}", "Unknown field 'training.epoch'; did you mean 'epochs'?"),
        ("data: [sample]", "'data' must be"),
        ("models: {}", "Unknown field 'models'; did you mean 'model'?"),
        ("- 3", "must hold settings by name"),
        ("3: 4", "Unknown field '3'"),
        ("model:", "'model' must be settings by name, got None"),
        ("model: lightgcn", "'model' must be settings by name, got 'lightgcn'"),
        ("model: {backbone: [sgl]}", "A backbone must be a name or settings with a 'name'"),
        ("model: {backbone: {name: autocf, heads: 5}}", "'heads' must divide 'embedding_size'"),
        ("model: {backbone: {name: sgl, num_layers: 1000}}", "'num_layers' must be at most 100"),
        ("model: {heads: 3}", "'heads' must be names, or settings by label, got 3"),
        ("model: {heads: {profile: [1]}}", "A head must be a name or settings with a 'name'"),
        ("model: {heads: {profile.b: {name: profile}}}", "label must be a word without '.'"),
        ("model: {heads: {keys: profile}}", "label must be a word"),
        ("training: {monitor: recall@7}", "'training.monitor' must be one of recall@5"),
        ("training: {devices: -2}", "'training.devices' must be how many"),
        ("training: {lr: 1, lr: 2}", "'lr' is given twice"),
        ("data: {download_text: yes}", "'data.download_text' must be true or false, got 'yes'"),
    ],
)
def test_a_file_that_says_something_else_is_named_with_the_setting(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        RunConfig.load(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
