"""A whole run in one description."""

import pytest
import torch

from irllrec_pyg import RunConfig, run
from irllrec_pyg.checkpoint import load_model
from irllrec_pyg.config import ConfigError


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {backbone: {name: lightgcn, num_layers: -1}}", "'num_layers' must be at least 0"),
        ("model: {reg_weight: -1}", "'model.reg_weight' must be at least 0"),
        ("training: {epoch: 3}", "Unknown field 'training.epoch'; did you mean 'epochs'?"),
        ("data: [sample]", "'data' must be"),
        ("models: {}", "Unknown field 'models'; did you mean 'model'?"),
        ("- 3", "must hold settings by name"),
    ],
)
def test_a_file_that_says_something_else_is_named_with_the_setting(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        RunConfig.load(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
