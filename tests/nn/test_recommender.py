import copy

import pytest
import torch
from torch_geometric.nn import GAT, GraphSAGE

from irllrec_pyg import build_model, triplet_loader
from irllrec_pyg.nn import (
    GNNBackbone,
    IntentAlignment,
    LightGCN,
    ProfileAlignment,
    ProfileReconstruction,
    Recommender,
)

from .heads.test_intent import settings

TRIPLETS = torch.tensor([0, 3, 7]), torch.tensor([1, 2, 8]), torch.tensor([5, 6, 0])


def everything(data, backbone=None):
    """A model with every head."""
    torch.manual_seed(0)
    backbone = backbone or LightGCN(data, 4, keep_rate=0.8)
    heads = [
        ProfileAlignment(data, backbone),
        ProfileReconstruction(data, backbone),
        IntentAlignment(data, backbone, **settings()),
    ]
    return Recommender(backbone, heads, reg_weight=1e-3)


def test_total_is_the_sum_of_all_losses(tiny_data):
    model = everything(tiny_data)
    losses = model.losses(*TRIPLETS)
    assert list(losses) == [
        "bpr",
        "reg",
        "profile",
        "reconstruction",
        "intent",
        "translation",
        "matching",
        "total",
    ]
    torch.testing.assert_close(losses["total"], sum(losses[k] for k in losses if k != "total"))
    trainable = sum(p.square().sum().item() for p in model.parameters() if p.requires_grad)
    assert losses["reg"].item() == pytest.approx(1e-3 * trainable, rel=1e-5)


def test_scores_are_dot_products_of_the_clean_pass(tiny_data):
    model = everything(tiny_data).eval()
    user, item = model.embed()
    torch.testing.assert_close(model.score(torch.tensor([3, 1])), user[[3, 1]] @ item.t())
    torch.testing.assert_close(torch.cat([user, item]), model.backbone(augment=False).nodes)


def test_state_dict_round_trip_without_texts(tiny_data):
    model, other = everything(tiny_data), everything(tiny_data)
    model.losses(*TRIPLETS)["total"].backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
    state = model.state_dict()
    assert sum(value.numel() for value in state.values()) == sum(
        parameter.numel() for parameter in model.parameters()
    )
    other.load_state_dict(copy.deepcopy(state))
    torch.testing.assert_close(
        other.eval().score(torch.arange(12)), model.eval().score(torch.arange(12))
    )


@pytest.mark.parametrize("keep", ["float32", "float64", "autocast", "compile"])
def test_dtypes_autocast_and_compile(tiny_data, keep):
    model = everything(tiny_data)
    model.backbone.keep_rate = 1.0
    masked = torch.tensor([1, 20])
    exact = copy.deepcopy(model).double().losses(*TRIPLETS, False, masked)
    run = model.losses
    if keep == "float64":
        model.double()
    if keep == "compile":  # eager: what is tested is that the graph can be traced
        run = torch.compile(model.losses, backend="eager")
    with torch.autocast("cpu", torch.bfloat16, enabled=keep == "autocast"):
        losses = run(*TRIPLETS, False, masked)
    losses["total"].backward()
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if keep == "autocast" else {"rtol": 1e-5, "atol": 1e-6}
    for name, value in losses.items():
        torch.testing.assert_close(value.double(), exact[name], **tolerance)
    for parameter in model.parameters():
        assert not parameter.requires_grad or torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize(
    "gnn", [lambda: GAT(4, 4, num_layers=2, heads=2), lambda: GraphSAGE(4, 4, num_layers=2)]
)
def test_any_pyg_model_takes_every_head(tiny_data, gnn):
    model = everything(tiny_data, GNNBackbone(gnn(), tiny_data, 4))
    losses = model.losses(*TRIPLETS)
    (losses["intent"] + losses["translation"] + losses["matching"]).backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0
        for p in list(model.backbone.gnn.parameters())[:1]
    )
    encoding = model.backbone()
    assert len(encoding.layers) == 2
    assert torch.equal(encoding.layers[1], encoding.nodes)


def test_gnn_backbone_refuses_what_does_not_fit(tiny_data):
    with pytest.raises(ValueError, match="returns 8 columns"):
        GNNBackbone(GraphSAGE(4, 8, num_layers=1), tiny_data, 4)
    with pytest.raises(ValueError, match="takes no 'edge_weight'"):
        GNNBackbone(torch.nn.Bilinear(4, 4, 4), tiny_data, 4, edge_weight=True)


def test_whole_neighbourhoods_give_the_ranking_loss_of_the_whole_graph(tiny_data):
    model = Recommender(LightGCN(tiny_data, 4, num_layers=2)).double()
    kwargs = {"batch_size": 5, "seed": 3}
    exact = list(triplet_loader(tiny_data, **kwargs))
    sampled = list(triplet_loader(tiny_data, num_neighbors=[-1, -1], **kwargs))
    assert len(exact) == len(sampled) > 1
    for a, b in zip(exact, sampled, strict=True):
        losses, expected = model.losses_from_batch(b), model.losses_from_batch(a)
        torch.testing.assert_close(losses["bpr"], expected["bpr"])
        for x, y in zip(
            torch.autograd.grad(losses["bpr"], model.backbone.embedding),
            torch.autograd.grad(expected["bpr"], model.backbone.embedding),
            strict=True,
        ):
            torch.testing.assert_close(x, y)


def test_every_head_trains_on_sampled_neighbourhoods(tiny_data):
    model = everything(tiny_data)
    batch = next(iter(triplet_loader(tiny_data, batch_size=4, num_neighbors=[2, 2])))
    assert batch["user"].num_nodes < 12
    losses = model.losses_from_batch(batch)
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert model.backbone.embedding.grad.abs().sum() > 0


def test_build_model_takes_published_names(tiny_data):
    model = build_model("lightgcn_int", tiny_data, dataset="movie", layer_num=2)
    assert model.reg_weight == 1e-6
    assert model.backbone.num_layers == 2
    assert [type(head).__name__ for head in model.heads] == ["ProfileAlignment", "IntentAlignment"]
    with pytest.raises(ValueError, match="no hyper-parameter layers"):
        build_model("lightgcn", tiny_data, layers=2)
    with pytest.raises(ValueError, match="Unknown model 'lightgnc'"):
        build_model("lightgnc", tiny_data)


def test_training_goes_on_after_inference_mode(tiny_data):
    model = build_model("lightgcn", tiny_data, keep_rate=1.0)
    with torch.inference_mode():
        model.score(torch.arange(3))
    model.losses(*TRIPLETS)["total"].backward()


@pytest.mark.parametrize("name", ["bigcf", "bigcf_plus", "dccf_int", "autocf"])
def test_losses_without_gradients(tiny_data, name):
    model = build_model(name, tiny_data, embedding_size=4, dataset="amazon")
    with torch.no_grad():
        calm = model.losses(*TRIPLETS, augment=False)
    assert torch.isfinite(calm["total"])


def test_arguments_of_training_and_data_sets_are_refused(tiny_data):
    with pytest.raises(ValueError, match="batch_size, lr is of training"):
        build_model("lightgcn", tiny_data, lr=0.5, batch_size=3)
    with pytest.raises(TypeError, match=r"dataset\[0\]"):
        LightGCN([tiny_data])
