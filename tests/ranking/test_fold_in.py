r"""New users in graph models: the propagation's own formula, over all backbones."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import build_model
from irllrec_pyg.checkpoint import KIND, load_ranker, save_ranker
from irllrec_pyg.ranking import FoldIn, evaluate
from irllrec_pyg.registry import names
from irllrec_pyg.tensor_file import CheckpointError, read_tensors, write_tensors

from ..linear.test_linear import matrix

SUMS = ["lightgcn", "sgl", "simgcl", "lightgcl", "bigcf"]
FOLDING = [*SUMS, "gccf", "alpharec"]


def build(name, data, **settings):
    torch.manual_seed(0)
    settings = {"backbone.embedding_size": 8, **settings}
    if name == "lightgcl":
        settings["backbone.rank"] = 3
    return build_model(name, data, settings=settings).eval().requires_grad_(False)


def encoded(model, history):
    return model.fold_in()(torch.as_tensor(history).float().to_sparse_csr())


def test_every_backbone_says_whether_it_folds_in(tiny_data):
    for name in names("backbone"):
        if name == "gnn":
            continue
        model = build(name, tiny_data)
        assert model.takes_history == (name in FOLDING)
        if name in FOLDING:
            assert model.recommend(history=[1, 4], k=3).shape == (3, 4)
        else:
            with pytest.raises(NotImplementedError, match="cannot rank for people by a history"):
                model.recommend(history=[1, 4])
    flat = build("lightgcn", tiny_data, **{"backbone.num_layers": 0})
    assert not flat.takes_history  # users are nothing but embeddings of their own


@pytest.mark.parametrize("name", SUMS)
def test_a_training_user_gets_all_but_the_own_input(tiny_data, name):
    model = build(name, tiny_data)
    own = model.backbone.embedding[:12]
    torch.testing.assert_close(encoded(model, matrix(tiny_data)) + own, model.embed()[0])


def test_gccf_follows_its_recursion(tiny_data):
    model = build("gccf", tiny_data)
    own = [model.backbone.embedding[:12]]
    loop = (model.seen_ptr.diff() + 1).view(-1, 1)
    for _ in range(2):  # what comes of the user's own input, through its loops alone
        own.append(own[-1] / loop)
    found = encoded(model, matrix(tiny_data)) + torch.cat(own, 1)
    torch.testing.assert_close(found, model.embed()[0])
    plain = build("gccf", tiny_data, **{"backbone.self_loops": False})
    first = torch.nn.functional.pad(plain.backbone.embedding[:12], (0, 16))
    torch.testing.assert_close(encoded(plain, matrix(tiny_data)) + first, plain.embed()[0])


def test_alpharec_knows_a_user_by_the_history_alone(tiny_data):
    model = build("alpharec", tiny_data)
    torch.testing.assert_close(encoded(model, matrix(tiny_data)), model.embed()[0])


def test_weights_against_a_loop(tiny_data):
    model = build("lightgcn", tiny_data)
    layers = model.backbone().layers
    degree = np.maximum(np.bincount(model.seen_item, minlength=9), 1)
    weight = {2: 3.0, 7: 0.5}
    user = np.zeros(8)
    for layer in layers[:-1]:
        for item, w in weight.items():
            user += w * layer[12 + item].numpy() / np.sqrt(sum(weight.values()) * degree[item])
    expected = np.sort(model.embed()[1].numpy() @ user)[::-1]
    table = model.recommend(history=list(weight), weights=list(weight.values()), k=9, exclude=None)
    np.testing.assert_allclose(table["score"], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", FOLDING)
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_files_keep_what_folds_users_in(tiny_data, tmp_path, name, similarity):
    model = build(name, tiny_data, similarity=similarity)
    path = tmp_path / "model.safetensors"
    save_ranker(model, path)
    loaded = load_ranker(path)
    history = [[1, 4], [0], [3, 5, 7]]
    pd.testing.assert_frame_equal(
        loaded.recommend(history=history), model.recommend(history=history)
    )
    if similarity == "cosine":
        assert loaded.recommend(history=history)["score"].abs().max() <= 1.0001
    save_ranker(loaded, path)
    again = load_ranker(path)
    pd.testing.assert_frame_equal(
        again.recommend(history=history), loaded.recommend(history=history)
    )


def test_people_are_evaluated_like_users(tiny_data):
    model = build("alpharec", tiny_data)
    edges = tiny_data["user", "rates", "item"]
    history = pd.DataFrame(edges.edge_index.T.numpy(), columns=["user", "item"])
    people = model.of(history.sort_values("user", kind="stable"))
    assert evaluate(people, edges.edge_label_index, k=3) == pytest.approx(
        evaluate(model, tiny_data, k=3)
    )


CHANGES = {
    "no settings": (lambda t, m: m.pop("fold"), "'fold' must be settings"),
    "more settings": (lambda t, m: m["fold"].update(x=1), "'fold' must be settings"),
    "no number": (lambda t, m: m["fold"].update(num_layers=True), "number of layers"),
    "too deep": (lambda t, m: m["fold"].update(num_layers=10**9), "number of layers"),
    "unknown": (lambda t, m: m["fold"].update(combine="max"), "how they are combined"),
    "a word": (lambda t, m: m["fold"].update(cosine="no"), "true or false"),
    "no layers": (lambda t, m: t.pop("fold.layers"), "the tensors of new users"),
    "a tensor more": (lambda t, m: t.update({"fold.x": torch.ones(1)}), "the tensors of new"),
    "narrow layers": (
        lambda t, m: t.update({"fold.layers": torch.ones(9, 2)}),
        "'fold.layers' must hold numbers of shape",
    ),
    "a flat text": (lambda t, m: t.update({"fold.text": torch.ones(9)}), "must be a matrix"),
    "another map": (
        lambda t, m: t.update({"fold.weight_out": torch.ones(8, 1)}),
        "'fold.weight_out' must hold",
    ),
    "doubles": (lambda t, m: t.update({"fold.layers": t["fold.layers"].double()}), "one type"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_files_are_refused(tiny_data, tmp_path, change):
    path = tmp_path / "model.safetensors"
    save_ranker(build("alpharec", tiny_data), path)
    tensors, metadata = read_tensors(path, KIND)
    apply, message = CHANGES[change]
    apply(tensors, metadata)
    write_tensors(path, tensors, metadata, KIND)
    with pytest.raises(CheckpointError, match=message):
        load_ranker(path)


def test_a_fold_is_a_module_that_moves(tiny_data):
    fold = build("alpharec", tiny_data).fold_in()
    assert isinstance(fold, FoldIn)
    assert all(part.is_meta for part in fold.to("meta").buffers())
    assert not fold.state_dict()
