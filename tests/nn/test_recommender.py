import copy
import json

import pytest
import torch
from torch_geometric.nn import GAT, GraphSAGE

from irllrec_pyg import build_model, triplet_loader
from irllrec_pyg.config import ConfigError
from irllrec_pyg.nn import (
    SGL,
    GNNBackbone,
    Head,
    InBatchSoftmax,
    IntentAlignment,
    LightGCN,
    ModelConfig,
    ProfileAlignment,
    ProfileReconstruction,
    Recommender,
)
from irllrec_pyg.registry import register

TRIPLETS = torch.tensor([0, 3, 7]), torch.tensor([1, 2, 8]), torch.tensor([5, 6, 0])

AS_PUBLISHED = {
    "translation": {"noise": "multiplicative", "nodes": "all"},
    "matching": {"target": "predictions"},
}


def everything(data, backbone=None):
    """A model with every head."""
    torch.manual_seed(0)
    backbone = backbone or LightGCN(data, embedding_size=4, keep_rate=0.8)
    heads = [
        ProfileAlignment(data, backbone),
        ProfileReconstruction(data, backbone),
        IntentAlignment(data, backbone, num_intents=3, **AS_PUBLISHED),
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
    model = everything(tiny_data, LightGCN(tiny_data, embedding_size=4))
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
    model = everything(tiny_data, GNNBackbone(tiny_data, gnn=gnn(), embedding_size=4))
    losses = model.losses(*TRIPLETS)
    (losses["intent"] + losses["translation"] + losses["matching"]).backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0
        for p in list(model.backbone.network.parameters())[:1]
    )
    encoding = model.backbone()
    assert len(encoding.layers) == 2
    assert torch.equal(encoding.layers[1], encoding.nodes)


def test_gnn_backbone_refuses_what_does_not_fit(tiny_data):
    with pytest.raises(ValueError, match="the width that GraphSAGE returns, 8, got 4"):
        GNNBackbone(tiny_data, gnn=GraphSAGE(4, 8, num_layers=1), embedding_size=4)
    bilinear = torch.nn.Bilinear(4, 4, 4)
    with pytest.raises(ValueError, match=r"Bilinear\.forward does not take it"):
        GNNBackbone(tiny_data, gnn=bilinear, embedding_size=4, edge_weight=True)


def test_whole_neighbourhoods_give_the_ranking_loss_of_the_whole_graph(tiny_data):
    model = Recommender(LightGCN(tiny_data, embedding_size=4, num_layers=2)).double()
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
    assert [type(head).__name__ for head in model.heads.values()] == [
        "ProfileAlignment",
        "IntentAlignment",
    ]
    with pytest.raises(ValueError, match="Unknown hyper-parameter 'layers'"):
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
    with pytest.raises(ValueError, match="'lr' is of training"):
        build_model("lightgcn", tiny_data, lr=0.5, batch_size=3)
    with pytest.raises(TypeError, match="must be a HeteroData, got list"):
        LightGCN([tiny_data])


def test_two_heads_of_one_kind_are_told_apart(tiny_data):
    torch.manual_seed(0)
    backbone = LightGCN(tiny_data, embedding_size=4)
    first = ProfileAlignment(tiny_data, backbone, weight=0.1)
    second = ProfileAlignment(tiny_data, backbone, weight=0.7)
    both = Recommender(backbone, [first, second]).losses(*TRIPLETS)
    one, two = (Recommender(backbone, [head]).losses(*TRIPLETS) for head in (first, second))
    assert list(both) == ["bpr", "reg", "profile", "profile-2.profile", "total"]
    assert both["profile"] == one["profile"]
    assert both["profile-2.profile"] == two["profile"]
    torch.testing.assert_close(both["total"], one["total"] + two["profile"])
    named = Recommender(backbone, {"near": first, "far": second})
    assert list(named.losses(*TRIPLETS))[2:4] == ["near.profile", "far.profile"]


@pytest.mark.parametrize("name", ["bpr", "total"])
def test_a_loss_that_takes_the_name_of_another_is_refused(tiny_data, name):
    class Clash(Head):
        def forward(self, encoding, batch):
            return {name: encoding.nodes.sum()}

    register("clash")(Clash)
    backbone = LightGCN(tiny_data, embedding_size=4)
    model = Recommender(backbone, [Clash(tiny_data, backbone)])
    with pytest.raises(ValueError, match=f"Two losses are called '{name}'"):
        model.losses(*TRIPLETS)


def test_the_teacher_moves_once_an_optimiser_step(tiny_data):
    """Losses of two halves of a batch, added up, train the model that the whole batch trains."""
    options = {"augment": False}
    model = everything(tiny_data, LightGCN(tiny_data, embedding_size=4))
    del model.heads["reconstruction"]  # its masked nodes are drawn at random
    models = [model, copy.deepcopy(model)]
    optimizers = [
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.5) for model in models
    ]
    for _ in range(3):
        for model, optimizer, parts in zip(models, optimizers, (1, 4), strict=True):
            optimizer.zero_grad()
            for _ in range(parts):
                (model.losses(*TRIPLETS, **options)["total"] / parts).backward()
            optimizer.step()
    whole, accumulated = (model.state_dict() for model in models)
    assert any("teacher" in name for name in whole)
    for name, value in whole.items():
        torch.testing.assert_close(accumulated[name], value, msg=name)


def test_cosines_rank_on_request(tiny_data):
    backbone = LightGCN(tiny_data, embedding_size=4)
    user, item = Recommender(backbone).eval().embed()
    expected = torch.nn.functional.cosine_similarity(user[:, None], item[None], dim=2)
    scores = Recommender(backbone, similarity="cosine").score(torch.arange(12))
    torch.testing.assert_close(scores, expected)
    with pytest.raises(
        ValueError, match="'similarity' must be 'dot', 'cosine' or 'validation', got 'sine'"
    ):
        Recommender(backbone, similarity="sine")


def test_a_model_is_built_again_from_its_configuration(tiny_data):
    backbone = SGL(tiny_data, embedding_size=4, augmentation="node_drop")
    model = Recommender(
        backbone,
        [ProfileAlignment(tiny_data, backbone, weight=0.5), ProfileAlignment(tiny_data, backbone)],
        reg_weight=1e-3,
        ranking_loss=InBatchSoftmax(temperature=0.3),
        similarity="cosine",
    )
    config = ModelConfig.read(json.loads(json.dumps(model.description)))
    again = Recommender.from_config(config, tiny_data)
    assert again.config == model.config == config
    assert again.backbone.augmentation == "node_drop"
    assert again.heads["profile"].weight == 0.5
    assert again.heads["profile-2"].weight == 0.01
    assert again.ranking_loss.temperature == 0.3
    again.load_state_dict(model.state_dict())
    users = torch.arange(12)
    assert torch.equal(again.eval().score(users), model.eval().score(users))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"backbone": "lightgnc"}, "Unknown backbone 'lightgnc'; did you mean 'lightgcn'"),
        ({"backbone": {"num_layers": 2}}, "must be a name or settings with a 'name'"),
        ({"backbone": {"name": "sgl", "layers": 2}}, "backbone 'sgl': Unknown field 'layers'"),
        ({"heads": {"profil": {}}}, "Unknown head 'profil'; did you mean 'profile'"),
        ({"heads": {"profile": {"weight": -1}}}, "head 'profile': 'weight' must be at least 0"),
        ({"heads": {"intent": {"pairwise": {"weight": -1}}}}, "'pairwise.weight' must be at least"),
        ({"ranking_loss": "hinge"}, "Unknown ranking-loss 'hinge'"),
        ({"reg_weight": -1}, "'reg_weight' must be at least 0"),
    ],
)
def test_a_wrong_description_is_refused_with_the_part_and_the_setting(config, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig.read(config)
