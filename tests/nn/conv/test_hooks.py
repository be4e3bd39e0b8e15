"""What runs inside a backbone is open to hooks and to PyG's explainers."""

import pytest
import torch
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn import MessagePassing

from irllrec_pyg.registry import lookup, names

from ..backbones.test_backbones import settings


def build(kind, data):
    torch.manual_seed(0)
    return lookup("backbone", kind)(data, settings(kind)).eval()


@pytest.mark.parametrize("kind", names("backbone"))
def test_every_layer_is_called_and_seen_by_hooks(tiny_data, kind):
    backbone = build(kind, tiny_data)
    layers = [module for module in backbone.modules() if isinstance(module, MessagePassing)]
    seen = []
    for layer in layers:
        layer.register_forward_hook(lambda module, args, out: seen.append(module))
    backbone()
    assert layers
    assert set(seen) == set(layers)


@pytest.mark.parametrize("what", ["propagate", "message", "aggregate"])
@pytest.mark.parametrize("kind", names("backbone"))
def test_pygs_own_hooks_see_the_messages_and_change_them(tiny_data, kind, what):
    backbone = build(kind, tiny_data).double()
    plain = backbone().nodes
    layers = [module for module in backbone.modules() if isinstance(module, MessagePassing)]
    seen, handles = [], []

    def look(module, args, out):
        seen.append(module)

    for layer in layers:
        handles.append(getattr(layer, f"register_{what}_forward_hook")(look))
    torch.testing.assert_close(backbone().nodes, plain)
    assert set(seen) == set(layers)
    for layer in layers:
        hide = getattr(layer, f"register_{what}_forward_hook")(lambda module, args, out: 0 * out)
        handles.append(hide)
    assert not torch.allclose(backbone().nodes, plain)
    for handle in handles:
        handle.remove()
    assert torch.equal(backbone().nodes, plain)


class Scores(torch.nn.Module):
    """A backbone as PyG's explainers call a model."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x, edge_index):
        nodes = self.backbone(x=x).nodes
        users = self.backbone.graph.num_users
        return nodes[:users] @ nodes[users:].t()


@pytest.mark.parametrize("kind", names("backbone"))
def test_masks_of_edges_reach_every_layer(tiny_data, kind):
    backbone = build(kind, tiny_data).double()
    model, graph = Scores(backbone), backbone.graph
    x = backbone.inputs(graph).detach()
    plain = model(x, graph.edge_index)
    mask = torch.nn.Parameter(torch.ones(graph.num_edges, dtype=torch.float64))
    set_masks(model, mask, graph.edge_index, apply_sigmoid=False)
    masked = model(x, graph.edge_index)
    torch.testing.assert_close(masked, plain)  # a mask of ones hides nothing
    masked[3].sum().backward()
    assert mask.grad.abs().sum() > 0
    clear_masks(model)
    assert torch.equal(model(x, graph.edge_index), plain)


def test_a_pyg_explainer_finds_the_edges_that_a_score_comes_from(tiny_data):
    backbone = lookup("backbone", "lightgcn")(tiny_data, embedding_size=4, num_layers=1)
    model, graph = Scores(backbone).eval(), backbone.graph
    torch.manual_seed(0)
    explainer = Explainer(
        model,
        GNNExplainer(epochs=3),
        explanation_type="model",
        edge_mask_type="object",
        model_config={"mode": "regression", "task_level": "node", "return_type": "raw"},
    )
    user = 3
    x = backbone.inputs(graph).detach()
    explanation = explainer(x, graph.edge_index, index=user)
    target = graph.edge_index[1]
    # One propagation: the user's scores come from edges into the user and into the items.
    reaches = (target == user) | (target >= graph.num_users)
    found = explanation.edge_mask > 0
    assert found.any()
    assert not found[~reaches].any()
