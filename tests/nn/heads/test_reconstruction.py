import pytest
import torch

from irllrec_pyg.nn import LightGCN, ProfileReconstruction, Recommender
from tests.nn.test_losses import naive_ssl

TRIPLETS = torch.tensor([0, 3, 7]), torch.tensor([1, 2, 8]), torch.tensor([5, 6, 0])


def build(data, **kwargs):
    backbone = LightGCN(data, embedding_size=4)
    head = ProfileReconstruction(data, backbone, **kwargs)
    return Recommender(backbone, [head]), head


def test_equals_the_formula_on_the_masked_pass(tiny_data):
    model, head = build(tiny_data, weight=0.5, temperature=0.3)
    model.double()
    masked = torch.tensor([2, 5, 14])
    losses = model.losses(*TRIPLETS, augment=False, masked_nodes=masked)

    x = model.backbone.embedding.clone()
    x[masked] = head.mask_token
    e = model.backbone(x=x).nodes
    text = torch.cat([tiny_data["user"].x, tiny_data["item"].x]).double()[masked]
    torch.testing.assert_close(
        losses["reconstruction"], 0.5 * naive_ssl(head.mlp(e[masked]), text, 0.3)
    )
    user, pos, neg = e[TRIPLETS[0]], e[12 + TRIPLETS[1]], e[12 + TRIPLETS[2]]
    bpr = torch.nn.functional.softplus((user * neg).sum(1) - (user * pos).sum(1)).mean()
    torch.testing.assert_close(losses["bpr"], bpr)
    losses["total"].backward()
    assert head.mask_token.grad.abs().sum() > 0


@pytest.mark.parametrize(("ratio", "count"), [(0.01, 1), (0.5, 10), (1.0, 21)])
def test_masks_the_ratio_of_distinct_nodes_anew_each_step(tiny_data, ratio, count):
    model, head = build(tiny_data, mask_ratio=ratio)
    seen = []
    head.mlp.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        head.mask_token.fill_(9.0)
    corrupted = []
    original = head.corrupt
    head.corrupt = lambda x, batch: corrupted.append(original(x, batch)) or corrupted[-1]
    for _ in range(3):
        model.losses(*TRIPLETS)
    masks = [(x == 9.0).all(1) for x in corrupted]
    assert [int(mask.sum()) for mask in masks] == [count] * 3
    assert [len(rows) for rows in seen] == [count] * 3
    if count == 10:
        assert not torch.equal(masks[0], masks[1])


@pytest.mark.parametrize("ratio", [0.0, 1.5])
def test_a_ratio_out_of_range_is_refused(tiny_data, ratio):
    with pytest.raises(ValueError, match="mask_ratio"):
        build(tiny_data, mask_ratio=ratio)
