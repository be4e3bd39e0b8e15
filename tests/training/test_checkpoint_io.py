import json

import pytest
import torch

from irllrec_pyg.checkpoint import save_ranker
from irllrec_pyg.published import build_model
from irllrec_pyg.tensor_file import CheckpointError
from irllrec_pyg.training import Identity, SafetensorsIO, TrainingConfig


def equal(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b or a != a


CHECKPOINT = {
    "epoch": 3,
    "pytorch-lightning_version": "2.6.0",
    "none": None,
    "flag": True,
    "best": float("-inf"),
    "nan": float("nan"),
    "tuple": (1, (2.5,)),
    "list": [],
    "empty": {},
    "third": 1 / 3,
    "state_dict": {"a/b": torch.arange(3), "a": {"b": torch.randn(2, 2)}},
    "optimizer_states": [
        {
            "state": {0: {"step": torch.tensor(7.0), "exp_avg": torch.randn(3)}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [0]}],
        }
    ],
    "tensor": {"tensor": "a", "dict": [["x", 1]], "tuple": []},
}


def test_everything_comes_back_exactly(tmp_path):
    path = tmp_path / "run" / "resume.safetensors"

    def settings(lr):
        return Identity(torch.nn.Linear(2, 2), config=TrainingConfig(lr=lr))

    SafetensorsIO(settings(0.1)).save_checkpoint(CHECKPOINT, path)
    assert equal(SafetensorsIO(settings(0.1)).load_checkpoint(path), CHECKPOINT)
    assert equal(SafetensorsIO().load_checkpoint(path), CHECKPOINT)
    with pytest.raises(CheckpointError, match=r"resume\.safetensors .* lr is 0\.1 there and 0\.2"):
        SafetensorsIO(settings(0.2)).load_checkpoint(path)
    SafetensorsIO().remove_checkpoint(path)
    SafetensorsIO().remove_checkpoint(path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"callbacks": {"mine": {"x": {1, 2}}}}, "'callbacks/mine/x' is of type set"),
        ({"hyper": [object()]}, "'hyper/0' is of type object"),
        ({"a": {(1, 2): 3}}, r"'a' has the key \(1, 2\)"),
    ],
)
def test_what_cannot_be_kept_is_named(tmp_path, value, message):
    with pytest.raises(TypeError, match=message):
        SafetensorsIO().save_checkpoint(value, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_trained_model_is_no_resume_checkpoint(tiny_data, tmp_path):
    save_ranker(build_model("lightgcn", tiny_data, dataset="movie"), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"is not a file of kind 'irllrec_pyg\.training/2'"):
        SafetensorsIO().load_checkpoint(tmp_path / "model.safetensors")


def test_settings_name_what_differs(tiny_data):
    def settings(name="lightgcn_plus", **options):
        return Identity(build_model(name, tiny_data, dataset="movie", **options), tiny_data)

    def differences(stored, current):
        return current.differences(json.loads(json.dumps(stored.values)))

    first = settings(layer_num=2, kd_temperature=0.2)
    assert differences(first, settings(layer_num=2, kd_temperature=0.2)) == []
    assert differences(first, settings(layer_num=3, kd_temperature=0.2)) == [
        "model.backbone.num_layers is 2 there and 3 here"
    ]
    assert differences(first, settings(layer_num=2, kd_temperature=0.1)) == [
        "model.heads.profile.temperature is 0.2 there and 0.1 here"
    ]
    tiny_data["user"].x = tiny_data["user"].x * 2
    (text,) = differences(first, settings(layer_num=2, kd_temperature=0.2))
    assert text.startswith("model.heads.profile.features is 21x6 float32 ")
    # A model without texts takes no notice of them.
    plain = settings("lightgcn")
    tiny_data["user"].x = None
    assert differences(plain, settings("lightgcn")) == []
    edges = tiny_data["user", "rates", "item"]
    edges.edge_index = edges.edge_index[:, 1:]
    assert any(
        "training interactions is 2x" in line for line in differences(plain, settings("lightgcn"))
    )
