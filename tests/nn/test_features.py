import pytest
import torch
from torch_geometric.data import HeteroData

from irllrec_pyg import IRLLRecDataset
from irllrec_pyg.nn.features import text_features


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


@pytest.fixture
def half():
    """The sample set's texts are in float16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    yield
    torch.set_default_dtype(before)


def test_a_data_set_holds_its_texts_for_models_to_share(tmp_path, half):
    for _ in range(2):  # processed, then loaded
        data = IRLLRecDataset(str(tmp_path), "sample")[0]
        for field in ("x", "intent"):
            assert text_features(data, field).data_ptr() == data["user"][field].data_ptr()
