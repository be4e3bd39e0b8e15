r"""Every closed-form model and blend: users by their histories, files, and texts that matter."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import build_model
from irllrec_pyg.checkpoint import KIND, load_model, load_ranker, load_weights, save_ranker
from irllrec_pyg.config import field
from irllrec_pyg.linear import EASE, ItemKNN, LinearModel, LowPassSVD, build_linear
from irllrec_pyg.ranking import Blend
from irllrec_pyg.registry import names
from irllrec_pyg.tensor_file import CheckpointError, read_tensors, write_tensors

from ..conftest import NUM_ITEMS, NUM_USERS
from .test_linear import SMALL, TEXTS, matrix, scores

LINEAR = names("linear")


def build(name, data):
    return build_linear(name, data, **SMALL.get(name, {}))


def blend_of_all(data):
    """A model whose users have embeddings of their own, in a blend with a blend."""
    torch.manual_seed(0)
    model = build_model("lightgcn", data, settings={"backbone.embedding_size": 8})
    blend = Blend(model, Blend(EASE(data), ItemKNN(data), weights=(0.75, 0.25)), weights=(0.4, 0.6))
    return blend.eval().requires_grad_(False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("name", LINEAR)
def test_a_training_user_scores_alike_by_history(tiny_data, name):
    if name == "text-profile":  # users have texts of their own
        del tiny_data["user"].x
    ranker = build(name, tiny_data)
    history = torch.from_numpy(matrix(tiny_data))
    for given in (history, history.float(), history.bool(), history.to_sparse_csr()):
        found = ranker.score_history(given)
        np.testing.assert_allclose(found, scores(ranker), rtol=1e-4, atol=1e-5)
    found = ranker.score_history(history[[3, 3, 1]].to_sparse())
    np.testing.assert_allclose(found, scores(ranker)[[3, 3, 1]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LINEAR)
def test_a_user_whom_nobody_knows_is_scored(tiny_data, name):
    ranker = build(name, tiny_data)
    history = torch.zeros(3, NUM_ITEMS)
    history[0, [0, 5]] = history[1, 3] = 1
    found = ranker.score_history(history)
    assert found.shape == (3, NUM_ITEMS)
    assert found.isfinite().all()
    if "popularity" not in name:
        assert found[2].std() == 0  # no history: all items are alike
        assert found[0].std() > 0
    with pytest.raises(ValueError, match="must have the 9 items as columns"):
        ranker.score_history(history[:, 1:])
    history[1, 3] = float("nan")
    with pytest.raises(ValueError, match="must hold numbers that are finite, got nan"):
        ranker.score_history(history)


@pytest.mark.parametrize("name", LINEAR)
def test_every_model_is_saved_and_loaded_without_data(tiny_data, path, name):
    tiny_data["user"].raw_id = [f"u{at}" for at in range(NUM_USERS)]
    ranker = build(name, tiny_data)
    save_ranker(ranker, path, note=[1])
    loaded = load_ranker(path)
    assert type(loaded) is type(ranker)
    assert loaded.description == ranker.description
    assert loaded.info == {"note": [1]}
    assert repr(loaded) == repr(ranker)
    np.testing.assert_array_equal(scores(loaded), scores(ranker))
    pd.testing.assert_frame_equal(loaded.recommend("u3", k=4), ranker.recommend("u3", k=4))
    history = torch.eye(NUM_ITEMS)
    assert torch.equal(loaded.score_history(history), ranker.score_history(history))
    again = path.with_name("again")
    save_ranker(loaded, again, note=[1])  # what was loaded can be saved
    (tensors, metadata), (same, equal) = read_tensors(path, KIND), read_tensors(again, KIND)
    assert metadata == equal
    assert tensors.keys() == same.keys()
    assert all(torch.equal(same[key], value) for key, value in tensors.items())


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_permuted_texts_are_other_texts(tiny_data, name):
    before = scores(build(name, tiny_data))
    for side in ("user", "item"):
        order = torch.arange(tiny_data[side].num_nodes).roll(1)
        tiny_data[side].x = tiny_data[side].x[order]
    assert not np.allclose(before, scores(build(name, tiny_data)), rtol=1e-2)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_texts_rank_items_that_nobody_has(tiny_data, name):
    edges = tiny_data["user", "rates", "item"]
    edges.edge_index = edges.edge_index[:, (edges.edge_index[1] != 4) & (edges.edge_index[1] != 7)]
    ranker = build(name, tiny_data)
    cold = scores(ranker)[:, [4, 7]]
    assert (cold != 0).any(0).all()
    assert (cold[:, 0] > cold[:, 1]).any()


@pytest.mark.parametrize("name", sorted(set(LINEAR) - TEXTS))
def test_texts_change_nothing_where_they_are_not_read(tiny_data, name):
    before = scores(build(name, tiny_data))
    del tiny_data["user"].x, tiny_data["item"].x
    np.testing.assert_array_equal(before, scores(build(name, tiny_data)))


def test_files_hold_what_is_needed_and_no_more(tiny_data, path):
    for name, expected in (
        ("item-knn", {"part.ptr", "part.neighbor", "part.similarity"}),
        ("ease", {"part.weight"}),
        ("l3ae", {f"part.{name}" for name in ("weight", "texts", "prior", "solved", "center")}),
        ("text-mean", {"part.items", "part.center"}),
        ("linear-filter", {"part.root"}),
    ):
        save_ranker(build(name, tiny_data), path)
        tensors, _ = read_tensors(path, KIND)
        assert {key for key in tensors if key.startswith("part.")} == expected
        assert not any(key.startswith("state.") for key in tensors)


def test_a_blend_is_saved_with_its_parts(tiny_data, path):
    blend = blend_of_all(tiny_data)
    save_ranker(blend, path, note="x")
    loaded = load_ranker(path)
    assert loaded.info == {"note": "x"}
    assert loaded.weights == (0.4, 0.6)
    assert loaded.parts[1].weights == (0.75, 0.25)
    assert type(loaded.parts[1].parts[1]) is ItemKNN
    np.testing.assert_array_equal(scores(loaded), scores(blend))
    pd.testing.assert_frame_equal(loaded.recommend(k=5), blend.recommend(k=5))
    history = torch.eye(NUM_ITEMS)
    torch.testing.assert_close(
        loaded.parts[1].score_history(history), blend.parts[1].score_history(history)
    )
    torch.testing.assert_close(loaded.score_history(history), blend.score_history(history))


def test_what_a_file_cannot_do_is_said(tiny_data, path):
    save_ranker(EASE(tiny_data), path)
    for load in (load_model, lambda file: load_weights(EASE(tiny_data), file)):
        with pytest.raises(CheckpointError, match="class EASE, which has no weights to train"):
            load(path)

    class Own(LinearModel):
        class Config(LinearModel.Config):
            depth: int = field(3, ge=0, help="nothing")

    with pytest.raises(ValueError, match=r"Own has no embeddings .* is no registered closed-form"):
        save_ranker(Own(tiny_data), path)
    with pytest.raises(ValueError, match="Own has no embeddings"):
        save_ranker(Blend(EASE(tiny_data), Own(tiny_data)), path)
    bad = EASE(tiny_data)
    bad.weight[0, 1] = float("nan")
    with pytest.raises(ValueError, match="'weight' of EASE is NaN"):
        save_ranker(bad, path)


def change(key, value):
    def apply(tensors, metadata):
        *outer, last = key.split("/")
        inner = metadata
        for name in outer:
            inner = inner[name]
        if value is None:
            del inner[last]
        else:
            inner[last] = value

    return apply


def tensor(name, value):
    def apply(tensors, metadata):
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value(tensors[name]) if callable(value) else value

    return apply


# The model, what is changed in its file, and what the error says about it.
CHANGES = {
    "weights of other items": ("ease", tensor("part.weight", lambda t: t[:5, :5]), "shape"),
    "weights as a vector": ("ease", tensor("part.weight", lambda t: t[0]), "shape"),
    "weights of integers": ("ease", tensor("part.weight", lambda t: t.long()), "int64"),
    "weights are complex": ("ease", tensor("part.weight", lambda t: t + 0j), "complex"),
    "a weight is NaN": ("ease", tensor("part.weight", lambda t: t / 0), "NaN or infinite"),
    "no weights": ("ease", tensor("part.weight", None), "its tensors must be"),
    "a tensor more": ("ease", tensor("part.x", torch.ones(2)), "its tensors must be"),
    "a tensor of nobody": ("ease", tensor("x", torch.ones(2)), "'x' is no part"),
    "weights to train": ("ease", tensor("state.weight", torch.ones(2)), "no part"),
    "embeddings": ("ease", tensor("user_embedding", torch.ones(12, 2)), "no part"),
    "no sizes": ("ease", change("sizes", None), "'sizes' must be numbers"),
    "sizes are a number": ("ease", change("sizes", 3), "'sizes' must be numbers"),
    "a size is huge": ("linear-filter", change("sizes", [12, 2**40]), "'sizes' must be numbers"),
    "a size is great": ("linear-filter", change("sizes", [12, 2**30]), "shape"),
    "a size is true": ("ease", change("sizes", [12, True]), "'sizes' must be numbers"),
    "other users": ("popularity", change("sizes", [13, 9]), "must rise"),
    "no pointer": ("ease", tensor("seen_ptr", None), "'seen_ptr' is missing"),
    "an item is negative": ("ease", tensor("seen_item", lambda t: t - 1), "must lie between"),
    "unknown model": ("ease", change("linear/name", "os.system"), "Unknown linear 'os.system'"),
    "no name": ("ease", change("linear/name", None), "settings with a 'name'"),
    "no settings": ("ease", change("linear", 5), "settings with a 'name'"),
    "wrong setting": ("ease", change("linear/reg", -1.0), "'reg' must be greater than 0"),
    "unknown setting": ("ease", change("linear/depth", 1), "Unknown field 'depth'"),
    "other rank": ("low-pass-svd", change("linear/rank", 3), "shape"),
    "factors of other widths": ("bilinear-text", tensor("part.items", torch.ones(9, 2)), "shape"),
    "factors of other types": ("gf-cf", tensor("part.items", lambda t: t.double()), "one type"),
    "users of others": ("ials", tensor("part.users", lambda t: t[1:]), "shape"),
    "neighbours beyond": ("item-knn", tensor("part.neighbor", lambda t: t + 9), "must lie between"),
    "pointers fall": ("item-knn", tensor("part.ptr", lambda t: t.flip(0)), "must rise"),
    "no pointers": ("item-knn", tensor("part.ptr", None), "'ptr' must be a vector"),
    "fewer values": ("item-knn", tensor("part.similarity", lambda t: t[1:]), "'similarity' must"),
    "values are integers": ("item-knn", tensor("part.similarity", lambda t: t.long()), "'similar"),
    "no values": ("item-knn", tensor("part.similarity", None), "'similarity' must"),
    "no parts": ("blend", change("parts", None), "must be a list"),
    "a part is a list": ("blend", change("parts", [[], []]), "must be a mapping"),
    "a part too few": ("blend", change("parts", []), "is no part"),
    "a weight beyond": ("blend", change("blend/weights", [2.0, -1.0]), "must be at least 0"),
    "a weight too few": ("blend", change("blend/weights", [2.0]), "one number a ranker, 2 here"),
    "no weight by name": ("blend", change("blend", 3), "made of settings by name"),
    "a part of others": (
        "blend",
        tensor("0.item_embedding", lambda t: t[1:]),
        "not of 12 users and 9 items",
    ),
    "a part without embeddings": ("blend", tensor("0.item_embedding", None), "is missing"),
    "a part's weights": ("blend", tensor("1.0.part.weight", torch.ones(9)), "shape"),
    "a part in no part": ("blend", tensor("1.2.x", torch.ones(9)), "'2.x' is no part"),
    "parts in a model": ("ease", tensor("0.x", torch.ones(9)), "'0.x' is no part"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_files_are_refused(tiny_data, path, name):
    model, apply, message = CHANGES[name]
    save_ranker(blend_of_all(tiny_data) if model == "blend" else build(model, tiny_data), path)
    load_ranker(path)
    tensors, metadata = read_tensors(path, KIND)
    apply(tensors, metadata)
    write_tensors(path, tensors, metadata, KIND)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors .*{message}"):
        load_ranker(path)


def test_a_blend_of_a_thousand_blends_is_refused(tiny_data, path):
    save_ranker(EASE(tiny_data), path)
    tensors, metadata = read_tensors(path, KIND)
    inner = metadata
    for _ in range(400):
        inner = {"class": "Blend", "blend": {}, "parts": [inner]}
    write_tensors(path, tensors, metadata | inner, KIND)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_ranker(path)


def test_a_truncated_model_is_saved_as_it_is(tiny_data, path):
    smaller = LowPassSVD(tiny_data, rank=6).truncated(rank=2)
    save_ranker(smaller, path)
    np.testing.assert_array_equal(scores(load_ranker(path)), scores(smaller))
