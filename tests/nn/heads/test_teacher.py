import copy
import pickle

import numpy as np
import pytest
import torch

from irllrec_pyg.nn import mlp
from irllrec_pyg.nn.heads import Teacher
from irllrec_pyg.nn.heads import following as followings

from .test_intent import NEG, POS, USER, build


def teacher_of(head):
    return head.matching.teacher


def change_by_hand(model, head):
    with torch.no_grad():
        teacher_of(head)["mlp"][0].weight.mul_(0.5)


def load(model, head):
    state = {key: value * 1.1 for key, value in model.state_dict().items()}
    model.load_state_dict(state)


def give_other_texts(model, head):
    head.features = head.features.flip(0)


def change_texts(model, head):
    head.features.mul_(2)


def change_the_momentum(model, head):
    teacher_of(head).momentum = 0.2


def turn_to_float_and_back(model, head):
    model.float().double()


def move_without_a_pass(model, head):
    model.begin_step()
    with torch.no_grad():
        head.mlp[0].weight.mul_(0.5)
    model.begin_step()


def change_the_student_after_a_move(model, head):
    model.begin_step()
    with torch.no_grad():
        head.mlp[0].weight.mul_(0.5)
    model.eval()


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
        move_without_a_pass,
        change_the_student_after_a_move,
    ],
)
@pytest.mark.parametrize("mode", ["as_published", "as_in_paper"])
@pytest.mark.parametrize(
    ("module", "size", "value"), [(mlp, "BLOCK_BYTES", 1), (followings, "MOVED", 2)]
)
def test_follows_the_teachers_weights_over_many_steps(
    tiny_data, mode, between, module, size, value, monkeypatch
):
    monkeypatch.setattr(module, size, value)
    model, head = build(tiny_data, mode=mode, nodes="all", matching={"momentum": 0.9})
    seen, products = [], []
    part = head.matching
    part.following.forget()
    monkeypatch.setattr(
        part,
        "teacher_text",
        lambda *args, ask=part.teacher_text: seen.append(ask(*args)) or seen[-1],
    )
    hidden = teacher_of(head)["mlp"].hidden
    monkeypatch.setattr(
        teacher_of(head)["mlp"], "hidden", lambda x: products.append(1) or hidden(x)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for step in range(8):
        model.train(step != 6)
        if step == 4:
            between(model, head)
        optimizer.zero_grad()
        model.losses(USER, POS, NEG, augment=False)["total"].backward()
        teacher = copy.deepcopy(teacher_of(head)["mlp"])
        expected = teacher[2](torch.nn.functional.leaky_relu(teacher[0](head.features), 0.01))
        torch.testing.assert_close(seen[-1], expected)
        optimizer.step()
    # One product with the texts at the start, and another only where weights were changed.
    assert len(products) == (1 if between in (nothing, change_the_momentum) else 2)


@pytest.mark.parametrize("mode", ["as_published", "as_in_paper"])
def test_texts_that_lie_where_others_lay_are_told_apart(tiny_data, mode):
    _, head = build(tiny_data, mode=mode, nodes="all")
    teacher = teacher_of(head)["mlp"]
    generator, memory = np.random.default_rng(0), np.empty((21, 5))
    for _ in range(10):
        memory[:] = generator.standard_normal((21, 5))
        head.features = torch.from_numpy(memory)  # a new tensor where the last one lay
        hidden = [layer.detach() for layer in head.mlp.hidden(head.features)]
        taught = head.matching.following(head.features, head.features, hidden)
        torch.testing.assert_close(taught, teacher(head.features))


def adam(**options):
    return lambda parameters: torch.optim.Adam(parameters, lr=0.1, **options)


class ThroughData(torch.optim.Optimizer):
    """Writes into ``.data``, as optimisers of other packages do."""

    def __init__(self, parameters):
        super().__init__(parameters, {})

    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter.data.sub_(parameter.grad)


OPTIMIZERS = [
    adam(foreach=False),
    adam(foreach=True),
    adam(fused=True),
    lambda parameters: torch.optim.SGD(parameters, lr=0.1, foreach=True),
    lambda parameters: torch.optim.SGD(parameters, lr=0.1, fused=True),
    ThroughData,
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_moves_once_an_optimiser_step_of_any_kind(tiny_data, make):
    # Also where a step adds up the gradients of several batches.
    model, head = build(tiny_data, mode="as_in_paper", matching={"momentum": 0.5})
    optimizer = make([p for p in model.parameters() if p.requires_grad])
    slow = {key: value.clone() for key, value in teacher_of(head).state_dict().items()}

    def fast():
        students = {"mlp": head.mlp, "prototypes": head.intents}
        return {f"{name}.{key}": value.detach().clone() for name, student in students.items()
                for key, value in student.state_dict().items()}  # fmt: skip

    for _ in range(3):
        slow = {key: 0.5 * slow[key] + 0.5 * value for key, value in fast().items()}
        optimizer.zero_grad()
        model.begin_step()
        for part in (slice(0, 2), slice(2, 4), slice(4, 6)):
            model.losses(USER[part], POS[part], NEG[part])["total"].backward()
        for key, value in teacher_of(head).state_dict().items():
            torch.testing.assert_close(value, slow[key])
        optimizer.step()
    assert any(not torch.equal(value, slow[key]) for key, value in fast().items())


def test_several_batches_add_up_to_the_gradient_of_one(tiny_data):
    # Matching is a mean over all nodes: its gradient is that of one batch, however often it is
    # computed, unless the teacher has moved in between.
    model, head = build(tiny_data, matching={"momentum": 0.5}, translation={"weight": 0.0})
    with torch.no_grad():
        head.mlp[0].weight.mul_(2)
    grads = []
    for _ in range(2):
        loss = model.losses(USER, POS, NEG, augment=False)["matching"]
        grads.append(torch.autograd.grad(loss, head.mlp[0].weight)[0])
    assert grads[0].abs().sum() > 0
    assert torch.equal(*grads)


@pytest.mark.parametrize("assign", [False, True])
def test_weights_that_are_loaded_are_noticed(tiny_data, assign):
    model, head = build(tiny_data, matching={"momentum": 0.5})
    model.begin_step()
    state = {
        key: value.clone() if "teacher" in key else 3 * value
        for key, value in model.state_dict().items()
    }
    before = state["heads.intent.parts.matching.teacher.mlp.0.weight"].clone()
    model.load_state_dict(state, assign=assign)
    model.begin_step()
    torch.testing.assert_close(teacher_of(head)["mlp"][0].weight, 2 * before)
    model.begin_step()
    torch.testing.assert_close(teacher_of(head)["mlp"][0].weight, 2 * before)


def test_students_are_neither_stored_twice_nor_lost_in_copies():
    student = torch.nn.Linear(2, 2)
    pair = torch.nn.ModuleDict({"student": student, "teacher": Teacher(0.5, linear=student)})
    assert len(pair.state_dict()) == 4
    assert [p.requires_grad for p in pair.parameters()] == [True, True, False, False]
    for copied in (copy.deepcopy(pair), pickle.loads(pickle.dumps(pair))):
        before = student.weight.detach().clone()
        with torch.no_grad():
            copied["student"].weight.add_(1)
        copied["teacher"].step()
        torch.testing.assert_close(copied["teacher"]["linear"].weight, before + 0.5)
        assert torch.equal(pair["teacher"]["linear"].weight, before)


def is_known(head):
    return head.matching.following.late_by(head.features) is not None


def test_an_epoch_begins_with_the_weights_alone(tiny_data):
    model, head = build(tiny_data)
    model.train()
    model.losses(USER, POS, NEG)
    assert is_known(head)
    model.begin_epoch()
    assert not is_known(head)


def test_an_evaluation_in_inference_mode_leaves_training_as_it_was(tiny_data):
    model, head = build(tiny_data)
    for mode in (False, True, False, True):
        model.train(mode)
        with torch.inference_mode(not mode):
            losses = model.losses(USER, POS, NEG, augment=False)
        if mode:
            losses["total"].backward()
            assert is_known(head)
