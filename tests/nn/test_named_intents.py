r"""Intents that have names: on the sample set, whose true intents are known."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import IRLLRecDataset, build_model
from irllrec_pyg.checkpoint import KIND, load_ranker, save_ranker
from irllrec_pyg.linear import EASE
from irllrec_pyg.ranking import plot_intents, plot_profile
from irllrec_pyg.tensor_file import CheckpointError, read_tensors, write_tensors
from irllrec_pyg.training import fit

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture
def model(tiny_data):
    torch.manual_seed(0)
    tiny_data["item"].raw_id = [f"i{at}" for at in range(9)]
    return build_model("lightgcn_int", tiny_data).eval().requires_grad_(False)


def named(model):
    draws = torch.Generator().manual_seed(0)
    texts = {name: torch.randn(5, generator=draws) for name in ("calm", "fun", "awe")}
    model.name_intents(texts)
    return texts


def test_strengths_against_the_formula(model, tiny_data):
    texts = named(model)
    expected = dict.fromkeys(texts, 0.0)
    for at, kind, nodes in zip((4, 3), ("user", "item"), model.embed(), strict=True):
        x, e = tiny_data[kind].intent.double().numpy(), nodes.double().numpy()
        for name, text in texts.items():
            direction = np.zeros(e.shape[1])
            for own_x, own_e in zip(x, e, strict=True):
                near = np.dot(text.numpy() - x.mean(0), own_x - x.mean(0))
                direction += near * (own_e - e.mean(0))
            a = e[at] - e.mean(0)
            expected[name] += a @ direction / np.linalg.norm(a) / np.linalg.norm(direction)
    found = model.explain(4, "i3", k=3)
    values = dict(zip(found.table["reason"], found.table["value"], strict=True))
    assert values == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert list(values) == sorted(expected, key=lambda name: -expected[name])
    assert not found.adds_up
    assert "do not add up" in str(found)
    assert found.parts["history"].adds_up
    assert len(model.explain(history=["i1"], item="i3", k=2).table) == 2


def test_names_are_kept_in_files(model, tmp_path):
    named(model)
    path = tmp_path / "model.safetensors"
    save_ranker(model, path)
    loaded = load_ranker(path)
    pd.testing.assert_frame_equal(loaded.explain(4, "i3").table, model.explain(4, "i3").table)
    assert "intents" not in load_ranker(save_again(loaded, path)).explain(4, "i3").parts
    for change in (
        lambda t, m: m.pop("intents"),
        lambda t, m: m.update(intents=["calm"]),
        lambda t, m: m.update(intents=[1, 2, 3]),
        lambda t, m: t.pop("intents.user"),
        lambda t, m: t.update({n: torch.ones(3, 7) for n in ("intents.user", "intents.item")}),
    ):
        tensors, metadata = read_tensors(path, KIND)
        change(tensors, metadata)
        broken = tmp_path / "broken.safetensors"
        write_tensors(broken, tensors, metadata, KIND)
        with pytest.raises(CheckpointError, match="'intents' must"):
            load_ranker(broken)


def save_again(ranker, path):
    save_ranker(ranker, path)
    return path


def test_prototypes_without_names(model, tiny_data):
    found = model.explain(4, "i3", k=2)
    assert len(found.table) == 4
    assert found.table["reason"].str.contains("near item 'i").all()
    users, _ = model.embed()
    weight = (users @ model.heads["intent"].student_intents.user).softmax(1)
    beyond = weight[4] - weight.mean(0)
    assert found.table["value"].iloc[0] == pytest.approx(float(beyond.max()), rel=1e-4)
    own = build_model("bigcf", tiny_data).eval()  # prototypes of the backbone
    assert own.explain(4, "i3", k=2).table["reason"].str.startswith("intent ").all()


def test_wrong_names_are_refused(model, tiny_data):
    with pytest.raises(ValueError, match="4 wide; the model was built with intent texts 5 wide"):
        model.name_intents({"calm": torch.ones(4)})
    with pytest.raises(ValueError, match="must hold a vector for each intent"):
        model.name_intents({})
    with pytest.raises(ValueError, match="has no 'intent' head"):
        build_model("lightgcn", tiny_data).name_intents({"calm": torch.ones(5)})


def test_pictures(model, tiny_data, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    plain = plot_intents(model)
    assert len(plain.axes[0].collections) == 2
    bars = plot_profile(EASE(tiny_data), 4, k=3).axes[0]
    assert len(bars.patches) == 3
    assert all("because of i" in label.get_text() for label in bars.get_yticklabels())
    named(model)
    path = tmp_path / "map.png"
    figure = plot_intents(model, path)
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert {text.get_text() for text in figure.axes[0].texts} == {"calm", "fun", "awe"}
    profile = plot_profile(model, 4).axes[0]
    assert {label.get_text() for label in profile.get_yticklabels()} == {"calm", "fun", "awe"}
    with pytest.raises(ValueError, match="has no intents to draw"):
        plot_intents(build_model("lightgcn", tiny_data))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"irllrec_pyg\[plot\]"):
        plot_intents(model)


def test_the_true_intent_is_named_however_intents_are_worded(tmp_path):
    pytest.importorskip("wordllama")
    from intents import FORMS, named_rate, vectors

    torch.manual_seed(0)
    data = IRLLRecDataset(str(tmp_path), "sample")[0]
    model = build_model("lightgcn_int", data, kd_int_weight=0.01)
    fit(model, data, epochs=3, lr=0.01, batch_size=512, progress=False)
    for form in FORMS:
        model.name_intents(vectors(ROOT / "datasets" / "sample", form))
        rate, chance = named_rate(model, data, ROOT / "datasets" / "sample", pairs=100)
        assert rate > 3 * chance, form
