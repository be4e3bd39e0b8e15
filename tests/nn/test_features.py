import logging

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from irllrec_pyg import IRLLRecDataset
from irllrec_pyg.nn import LightGCN, ProfileAlignment, Recommender
from irllrec_pyg.nn.features import (
    MissingTextError,
    narrow_texts,
    principal_components,
    text_features,
    user_means,
)


def give(data, whole, at, gap=0):
    data["user"].x = whole[:at]
    data["item"].x = whole[at + gap :]
    return data


def test_texts_that_lie_behind_each_other_are_not_copied(tiny_data):
    whole = torch.randn(21, 6)
    stacked = text_features(give(tiny_data, whole, 12), "x")
    assert torch.equal(stacked, whole)
    assert stacked.data_ptr() == whole.data_ptr()


@pytest.mark.parametrize(
    "parts",
    [
        lambda whole: (whole[:12].clone(), whole[12:].clone()),
        lambda whole: (whole[9:], whole[:9]),  # the items first
        lambda whole: (torch.randn(22, 6)[:12], whole[12:]),
        lambda whole: (torch.randn(22, 6)[1:].split([12, 9])[0], whole[12:]),
        lambda whole: (torch.randn(22, 6)[:12], torch.randn(9, 6)),
        lambda whole: (torch.randn(6, 21).t()[:12], torch.randn(6, 21).t()[12:]),
        lambda whole: (whole[:12, :3], whole[12:, :3]),
        lambda whole: (whole.double()[:12], whole.double()[12:]),
    ],
)
def test_others_are_stacked(tiny_data, parts):
    user, item = parts(torch.randn(21, 6))
    tiny_data["user"].x, tiny_data["item"].x = user, item
    stacked = text_features(tiny_data, "x")
    expected = torch.cat([user, item]).float()
    assert torch.equal(stacked, expected)
    assert stacked.is_contiguous()


def test_a_single_row_may_have_any_stride():
    data = HeteroData()
    whole = torch.randn(6, 4)
    data["user"].x, data["item"].x = whole[::2][:1], whole[1:]
    assert torch.equal(text_features(data, "x"), whole)


def test_a_data_set_holds_its_texts_for_models_to_share(tmp_path):
    for _ in range(2):  # processed, then loaded
        data = IRLLRecDataset(str(tmp_path), "sample")[0]
        for field in ("x", "intent"):
            assert text_features(data, field).data_ptr() == data["user"][field].data_ptr()


@pytest.mark.parametrize("field", ["x", "intent"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_users_without_texts_get_the_mean_of_their_items(tiny_data, field, dtype, caplog):
    edges = tiny_data["user", "rates", "item"]
    edges.edge_index = edges.edge_index[:, edges.edge_index[0] != 5]
    tiny_data["user"][field] = None
    tiny_data["item"][field] = item = tiny_data["item"][field].to(dtype)
    with caplog.at_level(logging.WARNING):
        out = text_features(tiny_data, field)
        assert torch.equal(text_features(tiny_data, field), out)
    assert len(caplog.records) == 1
    assert "mean of their training items" in caplog.text
    assert out.dtype == torch.float32
    assert torch.equal(out[12:], item.float())
    for user in range(12):
        own = [item[i].float() for u, i in edges.edge_index.t().tolist() if u == user]
        expected = sum(own) / len(own) if own else torch.zeros(item.size(1))
        torch.testing.assert_close(out[user], expected)
    assert out[5].abs().sum() == 0


def test_each_field_and_each_data_set_says_so_once(tiny_data, caplog):
    other = tiny_data.clone()
    for data in (tiny_data, other, tiny_data):
        for field in ("x", "intent"):
            data["user"][field] = None
            text_features(data, field)
    assert len(caplog.records) == 4


def test_means_of_two_items_each():
    torch.manual_seed(0)
    item = torch.randn(300, 64)
    edge_index = torch.stack([torch.arange(5000).repeat_interleave(2), torch.arange(10_000) % 300])
    means = user_means(item, edge_index, 5001)
    expected = (item[edge_index[1, ::2]] + item[edge_index[1, 1::2]]) / 2
    torch.testing.assert_close(means[:5000], expected)
    assert means[5000].abs().sum() == 0


def test_items_without_texts_are_refused_though_users_have_some(tiny_data):
    tiny_data["item"].x = None
    with pytest.raises(MissingTextError, match=r"for its item nodes: set data\['item'\]\.x"):
        text_features(tiny_data, "x")
    tiny_data["user"].x = None
    with pytest.raises(MissingTextError, match="user and item nodes"):
        text_features(tiny_data, "x")
    with pytest.raises(MissingTextError, match="for its user nodes"):
        text_features(tiny_data, "x", sides=["user"])


def test_texts_of_two_widths_are_refused(tiny_data):
    tiny_data["item"].x = torch.randn(9, 7)
    with pytest.raises(ValueError, match=r"data\['user'\]\.x is 6 wide and data\['item'\]\.x is 7"):
        text_features(tiny_data, "x")


@pytest.mark.parametrize("rank", [1, 3])
def test_principal_components_are_those_of_the_singular_vectors(rank):
    x = torch.randn(40, 7, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 8) + 5
    components = principal_components(x, rank)
    u, s, vt = np.linalg.svd((x - x.mean(0)).double().numpy(), full_matrices=False)
    for column in range(rank):
        sign = np.sign(vt[column][np.abs(vt[column]).argmax()])
        expected = torch.from_numpy(sign * u[:, column] * s[column]).float()
        torch.testing.assert_close(components.project(x)[:, column], expected, rtol=1e-4, atol=1e-4)
    assert components.kept == pytest.approx((s[:rank] ** 2).sum() / (s**2).sum())


def test_a_model_sees_narrow_texts_where_it_is_told_to(tiny_data, caplog):
    given = tiny_data["item"].x.clone()
    config = {"heads": ["profile", "intent"], "text_rank": 3}
    with caplog.at_level(logging.INFO):
        model = Recommender.from_config(config, tiny_data)
    assert "3 of 6 principal components keep" in caplog.text
    assert (
        Recommender.from_config({**config, "text_rank": 9}, tiny_data)
        .heads["profile"]
        .features.size(1)
        == 6
    )
    both = torch.cat([tiny_data["user"].x, tiny_data["item"].x])
    torch.testing.assert_close(
        model.heads["profile"].features, principal_components(both, 3).project(both)
    )
    assert model.heads["intent"].features.size(1) == 3
    assert torch.equal(tiny_data["item"].x, given)
    assert model.config.text_rank == 3
    backbone = LightGCN(tiny_data)
    assert Recommender(backbone, [ProfileAlignment(tiny_data, backbone)]).config.text_rank is None


def test_users_without_texts_have_means_of_narrow_ones(tiny_data):
    tiny_data["user"].x, tiny_data["user"].intent, tiny_data["item"].intent = None, None, None
    narrow = narrow_texts(tiny_data, 2)
    item = tiny_data["item"].x
    item = principal_components(item, 2).project(item)
    assert torch.equal(narrow["item"].x, item)
    edges = tiny_data["user", "rates", "item"].edge_index
    mean = item[edges[1][edges[0] == 3]].mean(0)
    torch.testing.assert_close(text_features(narrow, "x")[3], mean)
