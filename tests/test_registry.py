"""A class that is registered is found by name everywhere, also where another package has it."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from irllrec_pyg import build_model
from irllrec_pyg.checkpoint import load_ranker, save_ranker
from irllrec_pyg.config import ConfigError
from irllrec_pyg.nn import LightGCN, ModelConfig, ProfileAlignment, Recommender
from irllrec_pyg.registry import Configured, lookup, names, register

# The whole of what another package has to write: a backbone, and an entry point in its metadata.
PLUGIN = '''
"""APPNP on the training graph: propagation with a way back to the input."""

from torch import Tensor
from torch_geometric.data import HeteroData

from irllrec_pyg.config import field
from irllrec_pyg.nn import Backbone, Encoding, InteractionGraph, WeightedSumConv
from irllrec_pyg.registry import register


@register("appnp")
class APPNP(Backbone):
    """Predict then propagate, https://arxiv.org/abs/1810.05997."""

    class Config(Backbone.Config):
        num_layers: int = field(4, ge=0, help="number of propagations")
        teleport: float = field(0.2, ge=0, le=1, help="share of the input in each layer")

    config: Config

    def build(self, data: HeteroData) -> None:
        self.conv = WeightedSumConv()

    def run(self, graph: InteractionGraph, x: Tensor, augment: bool) -> Encoding:
        layers, adjacency = [x], graph.adjacency(x.dtype)
        for _ in range(self.config.num_layers):
            out = self.conv(layers[-1], adjacency)
            layers.append((1 - self.config.teleport) * out + self.config.teleport * x)
        return Encoding(layers[-1], tuple(layers))
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package with one entry point."""
    (tmp_path / "appnp_plugin.py").write_text(PLUGIN)
    info = tmp_path / "appnp_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: appnp-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[irllrec_pyg]\nappnp = appnp_plugin\n")
    return tmp_path


def python(code, *paths):
    """What a new process prints."""
    root = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:irllrec_pyg", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join([*map(str, paths), root])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_backbone_is_one_file_of_at_most_60_lines():
    assert len(PLUGIN.strip().splitlines()) <= 60


def test_an_installed_backbone_is_built_trained_described_saved_and_rebuilt(
    plugin, published_folder
):
    root = published_folder.parents[1]
    out = python(
        f"""
        import torch
        from irllrec_pyg import IRLLRecDataset, Recommender, build_model
        from irllrec_pyg.checkpoint import load_model
        from irllrec_pyg.registry import names
        from irllrec_pyg.training import fit
        data = IRLLRecDataset({str(root)!r}, "tiny")[0]
        assert "appnp" in names("backbone")
        model = build_model("appnp+profile+intent", data, settings={{"backbone.teleport": 0.3}})
        assert model.config.backbone == {{
            "name": "appnp", "embedding_size": 32, "init": "xavier", "num_layers": 4,
            "teleport": 0.3}}
        fit(model, data, epochs=1, batch_size=8, folder={str(root / "run")!r}, progress=False)
        again = load_model({str(root / "run" / "model.safetensors")!r}, data)
        assert type(again.backbone).__name__ == "APPNP" and again.config == model.config
        users = torch.arange(12)
        torch.testing.assert_close(again.eval().score(users), model.eval().score(users))
        print(build_model("appnp_int", data).heads.keys())
        """,
        plugin,
    )
    assert "'profile', 'intent'" in out


def test_an_installed_backbone_is_a_model_of_the_command_line(plugin, tmp_path):
    run = Path(__file__).resolve().parents[1] / "benchmarks" / "run.py"
    out = python(
        f"""
        import runpy, sys
        sys.argv = ["run.py", "--model", "appnp+profile", "--backbone.teleport", "0.4",
                    "--epochs", "1", "--root", {str(tmp_path / "data")!r},
                    "--out", {str(tmp_path / "runs")!r}]
        try:
            runpy.run_path({str(run)!r}, run_name="__main__")
        except SystemExit as end:
            assert not end.code
        """,
        plugin,
    )
    assert "appnp+profile-teleport=0.4" in out


def test_a_broken_plug_in_stops_nothing_and_is_named(plugin):
    (plugin / "appnp_plugin.py").write_text("raise OSError('no such disk')")
    python(
        """
        import warnings
        from irllrec_pyg.registry import names
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert "lightgcn" in names("backbone")
        text = " ".join(str(one.message) for one in caught)
        assert "'appnp' (appnp_plugin) could not be loaded: OSError: no such disk" in text, text
        """,
        plugin,
    )


def test_a_head_whose_own_name_ends_in_a_number_is_found_by_it(monkeypatch):
    from irllrec_pyg import registry

    class Own(ProfileAlignment):
        pass

    monkeypatch.setitem(registry._classes, "head", dict(registry._classes["head"]))
    register("clip-4")(Own)
    heads = ModelConfig(heads=["clip-4", "profile", "profile"]).heads
    assert {label: part["name"] for label, part in heads.items()} == {
        "clip-4": "clip-4",
        "profile": "profile",
        "profile-2": "profile",
    }


def test_names_are_checked_and_not_taken_twice():
    for name in ("", "Light GCN", "light_gcn"):
        with pytest.raises(ValueError, match="must consist of"):
            register(name)(type("A", (Configured,), {"kind": "test"}))
    register("one")(type("A", (Configured,), {"kind": "test", "__module__": "a"}))
    with pytest.raises(ValueError, match="'one' is registered already, by a"):
        register("one")(type("B", (Configured,), {"kind": "test", "__module__": "b"}))
    assert names("test") == ["one"]
    with pytest.raises(ConfigError, match=r"Unknown test 'on'; did you mean 'one'\?"):
        lookup("test", "on")


@pytest.mark.parametrize("name", names("backbone"))
def test_every_backbone_is_rebuilt_from_its_file_alone(tiny_data, tmp_path, name):
    from irllrec_pyg.checkpoint import load_model

    torch.manual_seed(0)
    model = build_model(f"{name}+profile", tiny_data, settings={"backbone.embedding_size": 8})
    save_ranker(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors", tiny_data)
    assert again.config == model.config
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    ranker = load_ranker(tmp_path / "model.safetensors")
    users = torch.arange(12)
    torch.testing.assert_close(ranker.score(users), model.eval().score(users))
    torch.testing.assert_close(again.eval().score(users), model.score(users))


def test_a_part_of_ones_own_is_described_and_not_rebuilt(tiny_data):
    class Own(LightGCN):
        pass

    model = Recommender(Own(tiny_data))
    assert model.description["backbone"]["name"] == "Own"
    with pytest.raises(ConfigError, match="Unknown backbone 'Own'"):
        _ = model.config
