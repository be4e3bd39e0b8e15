r"""Items that came later: by their texts, against the formulas and against training again."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import TableDataset, build_model
from irllrec_pyg.checkpoint import load_ranker, save_ranker
from irllrec_pyg.linear import EASE, GFCF, L3AE, Popularity, TextMean
from irllrec_pyg.ranking import Blend
from irllrec_pyg.registry import names

from .test_linear import SMALL, matrix, scores
from .test_saving import build

TAKING = [
    "text-popularity",
    "text-mean",
    "bilinear-text",
    "text-profile",
    "l3ae",
    "text-ials",
    "text-ridge",
]
IDS = [f"i{at}" for at in range(9)]


@pytest.fixture
def data(tiny_data):
    tiny_data["item"].raw_id = IDS
    return tiny_data


def table(*vectors, ids=("new", "newer")):
    return pd.DataFrame({"item": list(ids)[: len(vectors)], "x": [np.array(v) for v in vectors]})


def graph(data, **settings):
    torch.manual_seed(0)
    return (
        build_model("alpharec", data, settings={"backbone.embedding_size": 4, **settings})
        .eval()
        .requires_grad_(False)
    )


def tale(data):
    parts = [build(name, data) for name in ("l3ae", "text-ials", "gf-cf", "text-mean")]
    return Blend(*parts, weights=(0.4, 0.3, 0.2, 0.1))


@pytest.mark.parametrize("name", [*TAKING, "alpharec", "tale"])
def test_new_items_are_listed_kept_and_refused_twice(data, tmp_path, name):
    model = {"alpharec": graph, "tale": tale}.get(name, lambda data: build(name, data))(data)
    before = scores(model)
    vectors = torch.randn(2, 6, generator=torch.Generator().manual_seed(1)).numpy()
    model.add_items(table(*vectors))
    assert model.num_items == 11
    if name != "tale":  # standardised over all items
        # The ridge of factors grows with the number of items.
        loose = 0.05 if name in ("text-ials", "text-ridge") else 1e-5
        np.testing.assert_allclose(scores(model)[:, :9], before, rtol=1e-3, atol=loose)
    assert {"new", "newer"} <= set(model.recommend(3, k=11)["item"])
    assert "new" in set(model.recommend(history=["newer", "i1"], k=11)["item"])
    if name != "text-popularity":  # an item is a number there
        assert len(model.similar("new", k=20)) == 10
    assert model.explain(history=["newer", "i1"], item="new").adds_up
    for added, message in (
        (table(vectors[0]), "'new' is there already; nothing was added"),
        (table(vectors[0], ids=["i3"]), "'i3' is there already"),
        (table(*vectors, ids=["a", "a"]), "The new item 'a' stands in the table twice"),
        (table(vectors[0][:4], ids=["a"]), r"have shape \(1, 4\); the model was built with .* 6"),
        (table(vectors[0] * np.nan, ids=["a"]), "The vector of item 'a' is NaN"),
        (table(vectors[0], ids=[7]), "The ids of items are text here, got 7"),
        (table(vectors[0], ids=[None]), "The ids of items are text here, got None"),
        (table(vectors[0]).drop(columns="item"), "a DataFrame with the column 'item'"),
        (table(vectors[0], ids=["a"]).drop(columns="x"), "'encoder' is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            model.add_items(added)
    model.add_items(table())
    assert model.num_items == 11
    save_ranker(model, tmp_path / "model.safetensors")
    loaded = load_ranker(tmp_path / "model.safetensors")
    wanted = model.recommend(history=["newer", "i1"], k=11)
    pd.testing.assert_frame_equal(loaded.recommend(history=["newer", "i1"], k=11), wanted)
    for one in (model, loaded):
        one.add_items(table(vectors[0] + 1, ids=["last"]))
    pd.testing.assert_frame_equal(loaded.recommend(5, k=12), model.recommend(5, k=12))


@pytest.mark.parametrize(
    "name", ["text-popularity", "text-mean", "bilinear-text", "text-profile", "alpharec"]
)
def test_a_new_item_scores_like_one_of_the_same_text(data, name):
    edges = data["user", "rates", "item"]
    edges.edge_index = edges.edge_index[:, edges.edge_index[1] != 4]  # nobody has touched item 4
    model = graph(data) if name == "alpharec" else build(name, data)
    model.add_items(table(data["item"].x[4].numpy()))
    found = scores(model)
    np.testing.assert_allclose(found[:, 9], found[:, 4], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(names("linear")) - {"text-knn"}))
def test_items_that_nobody_touched_are_what_training_makes_of_them(data, name):
    whole = build(name, data)
    if whole.text_width is not None or name in ("collective-ease", "additive-ease"):
        return
    whole.grow(["x", "y"], None)
    later = data.clone()
    later["item"].num_nodes, later["item"].raw_id = 11, [*IDS, "x", "y"]
    again = type(whole)(later, **{**SMALL.get(name, {})})
    loose = 0.01 if name == "ials" else 1e-4  # all items weigh on the ridge in every step
    np.testing.assert_allclose(scores(whole), scores(again), rtol=1e-3, atol=loose)


def test_l3ae_adds_the_weights_of_its_formulas(data):
    model = L3AE(data, reg=3.0, text_weight=0.7, text_reg=2.0)
    texts, x = data["item"].x.double().numpy(), np.array([0.3, -1, 2, 0.1, 0.7, -0.4])
    center = texts.mean(0)
    f = (texts - center) / np.linalg.norm(texts - center, axis=1, keepdims=True)
    new = (x - center) / np.linalg.norm(x - center)
    old = model.weight.clone()
    model.add_items(table(x))
    assert torch.equal(model.weight[:9, :9], old)
    assert model.weight[9, 9] == 0
    history = matrix(data)
    inverse = np.linalg.inv(history.T @ history + 3.0 * np.eye(9))

    def regression(predictors, target):
        # of a text on others: the weights of these
        gram = predictors @ predictors.T + 2.0 * np.eye(len(predictors))
        return np.linalg.solve(gram, predictors @ target)

    column = 0.7 * 3.0 * inverse @ regression(f, new)
    np.testing.assert_allclose(model.weight[:9, 9], column, rtol=1e-3, atol=1e-5)
    for item in range(9):
        others = np.vstack([np.delete(f, item, 0), new])
        expected = 0.7 * regression(others, f[item])[-1]
        assert float(model.weight[9, item]) == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", ["text-ials", "text-ridge"])
def test_factors_are_the_map_of_the_text(data, name):
    edges = data["user", "rates", "item"]
    edges.edge_index = edges.edge_index[:, edges.edge_index[1] != 4]
    model = build(name, data)
    model.add_items(table(data["item"].x[4].numpy()))
    np.testing.assert_allclose(model.items[9], model.items[4], rtol=1e-4, atol=1e-6)
    assert not model.warm[9].any()


def test_models_that_read_no_texts_say_so(data):
    for model in (EASE(data), Blend(EASE(data), GFCF(data, rank=3)), build_model("lightgcn", data)):
        with pytest.raises(NotImplementedError, match="does not rank items by their texts alone"):
            model.add_items(table(np.ones(6)))
    mixed = Blend(TextMean(data), build_model("lightgcn", data))
    with pytest.raises(NotImplementedError, match="Recommender, a part of this blend"):
        mixed.add_items(table(np.ones(6)))
    assert mixed.parts[0].num_items == 9
    blend = Blend(TextMean(data), Popularity(data))
    blend.add_items(table(np.ones(6)))
    assert blend.num_items == blend.parts[1].num_items == 10


def test_encoders_columns_and_texts_that_are_missing(data):
    def encoder(texts):
        return [[len(text), text.count("a"), 0, 0, 1, 0] for text in texts]

    model = TextMean(data)
    model.text_encoder = encoder
    rows = pd.DataFrame({"item": ["a", "b"], "title": ["aa", "abc"], "text": ["x", "y"]})
    model.add_items(rows[:1])
    model.add_items(rows[1:].drop(columns="text"), encoder=encoder)
    other = pd.DataFrame({"item": ["c"], "brand": ["abc"], "blurb": [None], "price": [3]})
    model.add_items(other)
    np.testing.assert_allclose(model.items[10], model.items[11], rtol=1e-6)
    for text in (None, float("nan"), "", "  "):
        with pytest.raises(ValueError, match="The new item 'd' has no text"):
            model.add_items(pd.DataFrame({"item": ["d"], "text": [text]}))
    with pytest.raises(ValueError, match="no column of texts"):
        model.add_items(pd.DataFrame({"item": ["d"], "price": [3.0]}))
    with pytest.raises(TypeError, match="'encoder' must be a data set, an encoder or a function"):
        model.add_items(pd.DataFrame({"item": ["d"], "text": ["x"]}), encoder="wordllama")
    assert model.num_items == 12


def test_a_folder_of_tables_knows_how_its_texts_were_embedded(tmp_path):
    pytest.importorskip("wordllama")
    folder = tmp_path / "shop"
    folder.mkdir()
    words = ["tea", "rose", "iron", "moon", "fish"]
    pairs = [(f"u{u}", f"0{i}") for u in range(8) for i in range(6) if (u + i) % 3]
    pd.DataFrame(pairs, columns=["user", "item"]).to_csv(folder / "interactions.csv", index=False)
    titles = [f"{words[i % 5]} {words[(i * i + 1) % 5]}" for i in range(6)]
    rows = pd.DataFrame({"item": [f"0{i}" for i in range(6)], "title": titles, "brand": "b"})
    rows.to_csv(folder / "items.csv", index=False)
    for rank in (None, 3):
        dataset = TableDataset(
            str(tmp_path),
            "shop",
            k_core=1,
            text=["title", "brand"],
            encoder="wordllama+words",
            text_rank=rank,
        )
        graph = dataset[0]
        again = dataset.embed_items(rows)
        np.testing.assert_allclose(again, graph["item"].x, atol=1e-5)
        model = TextMean(graph)
        model.text_encoder = dataset
        model.add_items(rows[:1].assign(item="new"))
        assert set(model.similar("new", k=2)["id"]) == {"00", "05"}  # these have its title
        model.item_table = dataset.items.set_index("item")
        assert "words" in model.explain("u1", "00").parts
    with pytest.raises(ValueError, match="has no column 'brand' to embed"):
        dataset.embed_items(rows[["item", "title"]])
    with pytest.raises(ValueError, match="The new item '00' has no text"):
        dataset.embed_items(rows.assign(title=None, brand=np.nan))
