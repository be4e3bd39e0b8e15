r"""Why an item has its score: parts that add up, or are said not to."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import build_model
from irllrec_pyg.checkpoint import load_ranker, save_ranker
from irllrec_pyg.linear import (
    EASE,
    GFCF,
    L3AE,
    BilinearText,
    Popularity,
    TextIALS,
    TextMean,
    TextProfile,
)
from irllrec_pyg.ranking import Blend, Rerank
from irllrec_pyg.registry import names

from ..linear.test_saving import build
from .test_fold_in import FOLDING
from .test_fold_in import build as build_graph
from .test_rerank import forests

IDS = [f"i{at}" for at in range(9)]


@pytest.fixture
def data(tiny_data):
    tiny_data["item"].raw_id = IDS
    return tiny_data


def test_the_items_of_a_history_and_their_weights(data):
    model = EASE(data, reg=1.0)
    found = model.explain(history=["i4", "i5", "i7"], weights=[1, 2, 3], item="i0", k=2)
    parts = {
        name: w * float(model.weight[at, 0])
        for name, at, w in (("i4", 4, 1), ("i5", 5, 2), ("i7", 7, 3))
    }
    order = sorted(parts, key=lambda name: -abs(parts[name]))
    assert found.table["item"].tolist() == [*order[:2], None]
    assert found.table["reason"].tolist()[-1] == "other items of the history"
    np.testing.assert_allclose(found.table["value"], [parts[name] for name in order], rtol=1e-5)
    assert found.adds_up
    assert abs(found.table["share"]).sum() == pytest.approx(1)
    assert found.score == pytest.approx(sum(parts.values()), rel=1e-5)
    assert "item 'i0'" in str(found)
    assert str(found).endswith("These add up to the score.")


@pytest.mark.parametrize("name", names("linear"))
def test_closed_forms_add_up(data, name):
    if name == "text-profile":  # users have texts of their own
        del data["user"].x
    model = build(name, data)
    for item in ("i3", "i8"):
        for user in (0, 7):
            found = model.explain(user, item, k=100)
            assert found.adds_up
            row = model.score(torch.tensor([user]))[0]
            assert found.score == pytest.approx(float(row[int(item[1])]), rel=1e-4, abs=1e-6)
            assert found.table["value"].sum() == pytest.approx(found.score, rel=1e-3, abs=1e-5)
        found = model.explain(history=["i1", "i4"], weights=[3, 0.5], item=item)
        assert found.adds_up
        assert found.table["item"].isin(["i1", "i4", None]).all()


@pytest.mark.parametrize("name", FOLDING)
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_propagation_adds_up(data, tmp_path, name, similarity):
    model = build_graph(name, data, similarity=similarity)
    score = float(model.score(torch.tensor([4]))[0, 3])
    found = model.explain(4, "i3", by="history")
    assert found.adds_up
    assert found.score == pytest.approx(score, rel=1e-5)
    own = "what is the user's own" in set(found.table["reason"])
    assert own == (name != "alpharec")  # its users are nothing but their items
    assert model.explain(history=["i1", "i2"], item="i3", by="history").adds_up
    save_ranker(model, tmp_path / "model.safetensors")
    loaded = load_ranker(tmp_path / "model.safetensors")
    again = loaded.explain(history=["i1", "i2"], item="i3")
    assert again.adds_up
    known = loaded.explain(4, "i3")
    if similarity == "dot":
        np.testing.assert_allclose(known.table["value"], found.table["value"], atol=1e-5)
    else:  # how long the embedding was is not in the file
        assert not known.adds_up


def test_what_is_no_sum_says_so(data):
    torch.manual_seed(0)
    model = build_model("autocf", data).eval().requires_grad_(False)
    found = model.explain(4, "i3", k=2)
    assert not found.adds_up
    assert "do not add up" in str(found)
    items = model.embed()[1]
    cosines = torch.nn.functional.cosine_similarity(items[3], items)
    history = model.seen(torch.tensor([4]))[1].tolist()
    best = sorted(history, key=lambda at: -float(cosines[at]))[:2]
    assert found.table["item"].tolist() == [IDS[at] for at in best]
    np.testing.assert_allclose(found.table["value"], cosines[best], rtol=1e-5)
    assert found.residual == pytest.approx(found.score - found.table["value"].sum())
    profile = TextProfile(data)  # here users have texts of their own
    assert not profile.explain(4, "i3").adds_up


def test_a_blend_adds_up_by_its_parts(data):
    parts = L3AE(data), TextIALS(data, dim=4), GFCF(data, rank=3), TextMean(data), TextMean(data)
    blend = Blend(*parts, weights=(1, 2, 3, 4, 1))
    for who in ({"user": 5}, {"history": ["i1", "i4"]}):
        found = blend.explain(item="i3", **who)
        assert found.adds_up
        assert set(found.table["reason"]) == set(found.parts)
        assert set(found.parts) == {"L3AE", "TextIALS", "GFCF", "TextMean", "TextMean'"}
        assert all(part.adds_up for part in found.parts.values())
        for name, part in found.parts.items():
            assert str(part).startswith(f"For {name} alone, on its own scale: the score of item")
        assert abs(found.table["value"]).is_monotonic_decreasing


@pytest.mark.parametrize("trees", [True, False])
def test_what_trees_do_is_said_and_is_no_part_of_the_sum(data, trees):
    parts = EASE(data, reg=1.0), Popularity(data)
    plain = Blend(*parts).score(torch.arange(12))
    model = Rerank(*parts, trees=forests() if trees else (), depth=3)
    scores, said = model.score(torch.arange(12)), []
    for user in range(12):
        seen = model.seen(torch.tensor([user]))[1].tolist()
        new = (torch.bincount(model.seen_item, minlength=9) == 0).tolist()
        listed = [at for at in range(9) if at not in seen and not new[at]]
        first = sorted(listed, key=lambda at: (-float(plain[user, at]), at))[:3]
        order = sorted(first, key=lambda at: -float(scores[user, at]))
        for item in listed:
            found = model.explain(user, f"i{item}")
            assert found.score == pytest.approx(float(scores[user, item]))
            values = found.table["value"].sum()
            assert values == pytest.approx(float(plain[user, item]), abs=1e-5)
            assert found.residual == pytest.approx(found.score - values, abs=1e-5)
            assert found.adds_up == (abs(found.residual) <= 1e-3 * abs(found.score))
            said.append(str(found))
            if not trees:
                assert "trees" not in said[-1]
            elif item not in first:
                assert "this item is not among them" in said[-1]
            else:
                before, after = first.index(item) + 1, order.index(item) + 1
                did = f"take this one from place {before} to place {after}. What trees give"
                same = f"leave this one at place {before}. What trees give"
                assert (same if before == after else did) in said[-1]
                assert "parts of the blend's score and not of the item's place" in said[-1]
    assert any("take this one" in one for one in said) == trees
    assert model.explain(history=["i1", "i2"], item="i4").score == pytest.approx(
        float(model.score_history(torch.eye(9)[[1]] + torch.eye(9)[[2]])[0, 4])
    )


class Counts:
    r"""Vectors that count words; long texts are not scaled."""

    words = "amber", "blue", "cold", "deep", "even", "far"

    def __call__(self, texts):
        return np.array([[text.split().count(word) for word in self.words] for text in texts])


def test_words_that_carry_a_score(data):
    texts = ["amber blue", "cold deep", "even far", "amber amber cold", *["blue deep far"] * 5]
    data["item"].x = torch.tensor(Counts()(texts)).float()
    for cls in (TextMean, BilinearText):
        model = cls(data)
        with pytest.raises(NotImplementedError, match="is explained by history, got 'by' 'words'"):
            model.explain(2, "i3", by="words")
        model.text_encoder = Counts()
        model.item_table = pd.DataFrame({"text": texts}, index=IDS)
        found = model.explain(2, "i3", k=9)
        words = found.parts["words"]
        assert found.adds_up
        assert not words.adds_up
        assert "Each was left out alone: these do not add up" in str(words)
        user = model.users[2].double().numpy()
        center = data["item"].x.double().mean(0).numpy()
        expected = {}
        for word, rest in (("amber", "cold"), ("cold", "amber amber")):
            scores = []
            for text in (texts[3], rest):
                vector = Counts()([text])[0] - center
                scores.append(vector / np.linalg.norm(vector) @ user)
            expected[f"word {word!r}"] = scores[0] - scores[1]
        found = dict(zip(words.table["reason"], words.table["value"], strict=True))
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    model.item_table = pd.DataFrame({"title": ["amber", None], "blurb": ["cold"] * 2}, ["i3", "i4"])
    with pytest.raises(ValueError, match="Item 'i4' has no text in 'item_table'"):
        model.explain(2, "i4", by="words")
    with pytest.raises(ValueError, match="'item_table' has no row of item 'i5'"):
        model.explain(2, "i5", by="words")
    assert "words" not in model.explain(2, "i5").parts
    model.text_encoder.text_fields = ["title", "blurb"]
    fields = model.explain(2, "i3", by="words", k=9)
    assert {"field 'title'", "field 'blurb'", "word 'amber'"} <= set(fields.table["reason"])
    assert "By its text alone the item would score" in str(fields)  # the table says another text


def test_wrong_arguments_are_named(data):
    model = EASE(data)
    for arguments, message in (
        ({"user": 1}, "'item' is missing"),
        ({"item": "i1"}, "Give 'user' or 'history'"),
        ({"item": "i1", "user": 1, "history": ["i1"]}, "Give 'user' or 'history'"),
        ({"item": "i1", "user": 1, "weights": [1]}, "'weights' belong to a 'history'"),
        ({"item": "i1", "user": 1, "k": 0}, "'k' must be"),
        ({"item": "i1", "history": []}, "The history is empty"),
        ({"item": "i1", "history": [["i1"], ["i2"]]}, "must be of one person, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            model.explain(**arguments)
    for arguments in ({"user": 99, "item": "i1"}, {"user": 1, "item": "x"}):
        with pytest.raises(KeyError, match="Unknown"):
            model.explain(**arguments)
    with pytest.raises(NotImplementedError, match="EASE is explained by history, got 'by' 'intent"):
        model.explain(1, "i1", by="intents")


def test_a_user_without_a_history_gets_an_answer(data):
    edges = data["user", "rates", "item"]
    edges.edge_index = edges.edge_index[:, edges.edge_index[0] != 3]
    found = EASE(data).explain(3, "i1")
    assert found.table.empty
    assert "nothing counts" in str(found)
    assert build_graph("autocf", data).explain(3, "i1").table.empty


def test_words_reach_the_parts_of_blends_in_blends(data):
    texts = ["amber blue", "cold deep", "even far", "amber amber cold", *["blue deep far"] * 5]
    data["item"].x = torch.tensor(Counts()(texts)).float()
    parts = TextMean(data), EASE(data), BilinearText(data)
    blend = Blend(Blend(*parts[:2]), parts[2], weights=(1, 2))
    with pytest.raises(NotImplementedError, match="by parts, history, got 'by' 'words'"):
        blend.explain(2, "i3", by="words")
    blend.text_encoder = Counts()
    blend.item_table = pd.DataFrame({"text": texts}, index=IDS)
    found = blend.explain(2, "i3", by="words").every_part()
    assert list(found) == ["Blend", "Blend/TextMean", "BilinearText"]
    whole = blend.explain(2, "i3").every_part()
    for name, part in (("Blend/TextMean", parts[0]), ("BilinearText", parts[2])):
        part.text_encoder, part.item_table = blend.text_encoder, blend.item_table
        expected = part.explain(2, "i3", by="words").table
        pd.testing.assert_frame_equal(found[name].table, expected)
        pd.testing.assert_frame_equal(whole[f"{name}/words"].table, expected)
    assert "Blend/EASE" in whole
    assert list(blend.explain(2, "i3", by="history").every_part())[1:3] == [
        "Blend/TextMean",
        "Blend/EASE",
    ]
    blend.item_table = blend.item_table.drop(index="i3")
    with pytest.raises(ValueError, match="no row of item 'i3'"):
        blend.explain(2, "i3", by="words")
    without = Blend(*parts[:2], weights=(1, 0))
    without.item_table = pd.DataFrame({"text": texts}, index=IDS)
    assert list(without.explain(2, "i3").every_part()) == ["TextMean", "TextMean/words"]
