r"""Blends against naive loops over each user's listable items."""

import numpy as np
import pytest
import torch

from irllrec_pyg import build_model
from irllrec_pyg.config import ConfigError
from irllrec_pyg.linear import EASE, ItemKNN, LowPassSVD, Popularity, TextMean
from irllrec_pyg.ranking import Blend, evaluate
from irllrec_pyg.ranking.blend import standardized

from ..linear.test_linear import matrix

EVERYONE = torch.arange(12)


def naive(parts, weights, history):
    """The formula, user by user, in float64."""
    out = np.zeros(history.shape)
    for share, part in zip(weights, parts, strict=True):
        for u, row in enumerate(part.double().numpy()):
            listed = row[history[u] == 0]
            if listed.std() > 1e-9:
                out[u] += share * (row - listed.mean()) / listed.std()
    return out


def history_of(data):
    history = torch.zeros(12, 9)
    history[tuple(data["user", "rates", "item"].edge_index)] = 1
    return history


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_blend_is_the_sum_of_standardised_scores(tiny_data, weight):
    first, second = EASE(tiny_data, reg=1.0), TextMean(tiny_data)
    shares = 1 - weight, weight
    blend = Blend(first, second, weights=[3 * share for share in shares])
    history = history_of(tiny_data)
    expected = naive([part.score(EVERYONE) for part in (first, second)], shares, history)
    np.testing.assert_allclose(blend.score(EVERYONE), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(blend.score_history(history), expected, rtol=1e-3, atol=1e-4)
    sparse = blend.score_history(history.to_sparse_csr())
    np.testing.assert_allclose(sparse, expected, rtol=1e-3, atol=1e-4)
    for part, share in ((first, 0.0), (second, 1.0)):
        if weight == share:
            known = history.sum(0).nonzero().flatten()
            own, whole = (evaluate(r, tiny_data, k=3, candidates=known) for r in (part, blend))
            assert own == whole


def test_more_rankers_and_equal_weights(tiny_data):
    parts = [EASE(tiny_data, reg=1.0), TextMean(tiny_data), Popularity(tiny_data)]
    scores, history = [part.score(EVERYONE) for part in parts], history_of(tiny_data)
    for weights, shares in (((), [1 / 3] * 3), ((2.0, 0.0, 6.0), [0.25, 0.0, 0.75])):
        found = Blend(*parts, weights=weights).score(EVERYONE)
        np.testing.assert_allclose(found, naive(scores, shares, history), rtol=1e-3, atol=1e-4)


def test_a_trained_model_is_blended_and_moves_with_the_blend(tiny_data):
    torch.manual_seed(0)
    model = build_model("lightgcn", tiny_data)
    blend = Blend(model, EASE(tiny_data), weights=(0.6, 0.4))
    with torch.no_grad():
        parts = [model.eval().score(EVERYONE), blend.parts[1].score(EVERYONE)]
    expected = naive(parts, (0.6, 0.4), history_of(tiny_data))
    item, score = blend.train().topk(EVERYONE, 4, exclude="train")
    np.testing.assert_allclose(score, np.take_along_axis(expected, item.numpy(), 1), rtol=1e-3)
    assert blend.training  # as it was
    assert model.training
    assert all(part.is_meta for part in blend.to("meta").buffers())
    assert set(dict(blend.named_parameters())) == {"parts.0.backbone.embedding"}


def test_the_score_of_an_item_does_not_depend_on_what_is_asked(tiny_data):
    blend = Blend(EASE(tiny_data), LowPassSVD(tiny_data, rank=3))
    whole = blend.score(EVERYONE)
    for exclude in ("known", "train", None):
        for candidates in (None, torch.tensor([1, 4, 8])):
            item, score = blend.topk(EVERYONE, 2, exclude, candidates, block_size=5)
            there = item >= 0
            expected = whole.gather(1, item.clamp(min=0))[there]
            torch.testing.assert_close(score[there], expected)


def test_what_a_ranker_scores_alike_counts_for_nothing(tiny_data):
    scores = torch.full((2, 5), 1e5)
    scores[1] = torch.tensor([1e5, 1e5 + 1, 1e5 + 2, 3e7, 1e5])
    row, item = torch.tensor([0, 1]), torch.tensor([2, 3])
    out = standardized(scores, row, item)
    assert out[0].eq(0).all()
    assert out[1, [0, 1, 2, 4]].mean() == pytest.approx(0, abs=1e-6)
    assert out[1, [0, 1, 2, 4]].std(correction=0) == pytest.approx(1, rel=1e-3)
    whole = standardized(torch.rand(1, 3), torch.zeros(3, dtype=torch.long), torch.arange(3))
    assert whole.isfinite().all()  # a user who has every item
    half = standardized(torch.rand(2, 5).half(), row, item)
    assert half.dtype == torch.float32


@pytest.mark.parametrize("count", [0, 9, 10, 14])
def test_new_items_have_a_scale_of_their_own_where_they_are_ten(count):
    scores = torch.randn(4, 20, generator=torch.Generator().manual_seed(0)).cumsum(1)
    new = torch.arange(20) >= 20 - count
    row, item = torch.tensor([0, 0, 2, 3]), torch.tensor([1, 8, 3, 19])
    found = standardized(scores, row, item, new)
    for u in range(4):
        seen = set(item[row == u].tolist())
        for i in range(20):
            group = [j for j in range(20) if count < 10 or new[j] == new[i]]
            own = [float(scores[u, j]) for j in group if j not in seen]
            expected = (float(scores[u, i]) - np.mean(own)) / np.std(own)
            assert found[u, i] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_blend_knows_which_items_are_new(tiny_data):
    data = tiny_data.clone()
    edges = data["user", "rates", "item"]
    edges.edge_index = edges.edge_index[:, edges.edge_index[1] < 5]
    data["item"].num_nodes = 17
    data["item"].x = torch.randn(17, 6)
    blend = Blend(EASE(data), TextMean(data))
    new = torch.from_numpy(matrix(data).sum(0) == 0)
    assert 10 <= new.sum() < 17
    parts = [standardized(part.score(EVERYONE), *edges.edge_index, new) for part in blend.rankers()]
    whole = [standardized(part.score(EVERYONE), *edges.edge_index) for part in blend.rankers()]
    torch.testing.assert_close(blend.score(EVERYONE), (parts[0] + parts[1]) / 2)
    assert not torch.allclose(blend.score(EVERYONE), (whole[0] + whole[1]) / 2)
    history = torch.from_numpy(matrix(data)).float()
    torch.testing.assert_close(blend.score_history(history), blend.score(EVERYONE))


def test_a_blend_recommends_nothing_that_either_part_knows_of(tiny_data):
    edges = tiny_data["user", "rates", "item"]
    first = EASE(tiny_data)
    more = torch.tensor([[0, 0], [1, 7]])
    edges.edge_label_index = torch.cat([edges.edge_label_index, more], 1)
    table = Blend(first, ItemKNN(tiny_data)).recommend(0, k=9)
    assert not set(table["item"]) & {1, 7}
    assert len(table) < len(first.recommend(0, k=9))


def test_rankers_of_other_data_and_wrong_settings_are_named(tiny_data):
    other = tiny_data.clone()
    edges = other["user", "rates", "item"]
    edges.edge_index = edges.edge_index[:, 1:]
    with pytest.raises(ValueError, match="EASE and Popularity differ in 'seen_"):
        Blend(EASE(tiny_data), Popularity(other))
    other = tiny_data.clone()
    other["user"].raw_id = list("abcdefghijkl")
    with pytest.raises(ValueError, match="differ in 'user_ids'"):
        Blend(EASE(tiny_data), Popularity(other))
    other["item"].num_nodes = 10
    with pytest.raises(ValueError, match="differ in 'num_items'"):
        Blend(Popularity(tiny_data), Popularity(other))
    for weights in ((1.0,), (1.0, 1.0, 1.0), (0.0, 0.0)):
        with pytest.raises(ConfigError, match="must be one number a ranker, 2 here"):
            Blend(EASE(tiny_data), EASE(tiny_data), weights=weights)
    with pytest.raises(ConfigError, match=r"'weights.*' must be at least 0"):
        Blend(EASE(tiny_data), EASE(tiny_data), weights=(0.5, -0.5))
    with pytest.raises(ValueError, match="needs a ranker"):
        Blend()
