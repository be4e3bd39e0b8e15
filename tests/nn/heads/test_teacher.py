import copy

import pytest
import torch

from irllrec_pyg.nn import mlp
from irllrec_pyg.nn.heads import teacher as teachers

from .test_intent import NEG, POS, USER, build


def change_by_hand(model, head):
    with torch.no_grad():
        head.teacher["mlp"][0].weight.mul_(0.5)


def load(model, head):
    state = {key: value * 1.1 for key, value in model.state_dict().items()}
    model.load_state_dict(state)


def give_other_texts(model, head):
    head.features = head.features.flip(0)


def change_texts(model, head):
    head.features.mul_(2)


def change_the_momentum(model, head):
    head.momentum = 0.2


def turn_to_float_and_back(model, head):
    model.float().double()


def nothing(model, head):
    pass


@pytest.mark.parametrize(
    "between",
    [
        nothing,
        change_by_hand,
        load,
        turn_to_float_and_back,
        give_other_texts,
        change_texts,
        change_the_momentum,
    ],
)
@pytest.mark.parametrize("mode", ["as_published", "as_in_paper"])
@pytest.mark.parametrize(
    ("module", "size", "value"), [(mlp, "BLOCK_BYTES", 1), (teachers, "MOVED", 2)]
)
def test_follows_the_teachers_weights_over_many_steps(
    tiny_data, mode, between, module, size, value, monkeypatch
):
    monkeypatch.setattr(module, size, value)
    model, head = build(tiny_data, momentum=0.9, mode=mode, all_nodes=True)
    seen, products = [], []
    head._following.forget()
    monkeypatch.setattr(
        head, "_teach", lambda *args, teach=head._teach: seen.append(teach(*args)) or seen[-1]
    )
    hidden = head.teacher["mlp"].hidden
    monkeypatch.setattr(head.teacher["mlp"], "hidden", lambda x: products.append(1) or hidden(x))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for step in range(8):
        model.train(step != 6)
        if step == 4:
            between(model, head)
        optimizer.zero_grad()
        model.losses(USER, POS, NEG, augment=False)["total"].backward()
        teacher = copy.deepcopy(head.teacher["mlp"])
        expected = teacher[2](torch.nn.functional.leaky_relu(teacher[0](head.features), 0.01))
        torch.testing.assert_close(seen[-1], expected)
        optimizer.step()
    # One product with the texts at the start, and another only where weights were changed.
    assert len(products) == (1 if between in (nothing, change_the_momentum) else 2)


def test_an_epoch_begins_with_the_weights_alone(tiny_data):
    model, head = build(tiny_data)
    model.train()
    model.losses(USER, POS, NEG)
    assert head._following.knows(head.teacher["mlp"], head.features)
    model.begin_epoch()
    assert not head._following.knows(head.teacher["mlp"], head.features)


def test_an_evaluation_in_inference_mode_leaves_training_as_it_was(tiny_data):
    model, head = build(tiny_data)
    for mode in (False, True, False, True):
        model.train(mode)
        with torch.inference_mode(not mode):
            losses = model.losses(USER, POS, NEG, augment=False)
        if mode:
            losses["total"].backward()
            assert head._following.knows(head.teacher["mlp"], head.features)
