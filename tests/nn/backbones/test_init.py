import pytest
import torch

from irllrec_pyg.nn import LightGCN, MissingTextError
from irllrec_pyg.nn.features import principal_components
from irllrec_pyg.registry import lookup, names


@pytest.mark.parametrize("kind", names("backbone"))
def test_embeddings_start_from_texts(tiny_data, kind):
    backbone = lookup("backbone", kind)(tiny_data, embedding_size=4, init="text")
    if backbone.embedding is None:
        return  # its inputs are texts always
    user, item = backbone.embedding.detach().split([12, 9])
    text = tiny_data["item"].x
    text = principal_components(text, 4).project(text)
    torch.testing.assert_close(item / item.norm(), text / text.norm())
    edges = tiny_data["user", "rates", "item"].edge_index
    mean = torch.stack([text[edges[1][edges[0] == u]].mean(0) for u in range(12)])
    torch.testing.assert_close(user / user.norm(), mean / mean.norm())


def test_they_are_as_long_as_xaviers_and_narrow_texts_leave_the_rest_at_random(tiny_data):
    tiny_data["item"].x = torch.randn(9, 3)
    torch.manual_seed(1)
    plain = LightGCN(tiny_data, embedding_size=8)
    torch.manual_seed(1)
    backbone = LightGCN(tiny_data, embedding_size=8, init="text")
    assert torch.equal(backbone.embedding[:, 3:], plain.embedding[:, 3:])
    for ours, expected in zip(
        backbone.embedding.split([12, 9]), plain.embedding.split([12, 9]), strict=True
    ):
        torch.testing.assert_close(
            ours[:, :3].std(correction=0), expected.std(correction=0), rtol=1e-4, atol=0
        )
    before = backbone.embedding.detach().clone()
    backbone.reset_parameters()
    torch.testing.assert_close(
        backbone.embedding[12:, :3] / backbone.embedding[12:, :3].norm(),
        before[12:, :3] / before[12:, :3].norm(),
    )


def test_texts_are_needed(tiny_data):
    del tiny_data["item"].x
    with pytest.raises(MissingTextError):
        LightGCN(tiny_data, init="text")
