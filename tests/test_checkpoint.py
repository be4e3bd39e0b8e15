import json
import os
import subprocess
import sys

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from irllrec_pyg.checkpoint import (
    EmbeddingRecommender,
    load_model,
    load_ranker,
    load_weights,
    save_ranker,
)
from irllrec_pyg.nn import Ranker
from irllrec_pyg.published import build_model
from irllrec_pyg.tensor_file import CheckpointError, read_tensors, write_tensors

IDS = ["7", 7, "ünï", -3, 2**62, "", "a\nb", "0", 0, 1, 2, "x"]


@pytest.fixture
def trained(tiny_data):
    tiny_data["user"].raw_id = IDS
    tiny_data["item"].raw_id = [f"book {item}" for item in range(9)]
    torch.manual_seed(0)
    return build_model("lightgcn_int", tiny_data, dataset="movie")


def test_recommends_the_same_without_texts_or_data(trained, tmp_path):
    save_ranker(trained, tmp_path / "model.safetensors", note={"seed": 3})
    loaded = load_ranker(tmp_path / "model.safetensors")
    assert loaded.user_ids == IDS
    assert [type(value) for value in loaded.user_ids] == [type(value) for value in IDS]
    assert loaded.info == {"note": {"seed": 3}}
    assert repr(loaded) == "EmbeddingRecommender(12 users, 9 items, 32)"
    for user, exclude in ((None, "known"), ("7", None), (7, "train"), (["ünï", "x"], "known")):
        pd.testing.assert_frame_equal(
            loaded.recommend(user, k=5, exclude=exclude),
            trained.recommend(user, k=5, exclude=exclude),
        )
    everyone = torch.arange(12)
    assert torch.equal(loaded.score(everyone), trained.eval().score(everyone))


def test_recommends_in_another_process_that_never_saw_the_data(trained, tmp_path):
    save_ranker(trained, tmp_path / "model.safetensors")
    code = (
        "import sys; from irllrec_pyg.checkpoint import load_ranker\n"
        "table = load_ranker('model.safetensors').recommend(-3, k=4)\n"
        "assert 'pytorch_lightning' not in sys.modules\n"
        "print(table.to_json(orient='records', double_precision=15))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ},
    )
    expected = trained.recommend(-3, k=4)
    got = pd.DataFrame(json.loads(run.stdout))
    assert got[["user", "item", "rank"]].values.tolist() == (
        expected[["user", "item", "rank"]].values.tolist()
    )


def test_weights_go_back_into_a_model(trained, tiny_data, tmp_path):
    path = tmp_path / "model.safetensors"
    save_ranker(trained, path, epoch=4)
    other = build_model("lightgcn_int", tiny_data, dataset="movie")
    assert load_weights(other, path) == {"epoch": 4}
    assert other.state_dict().keys() == trained.state_dict().keys()
    for name, value in trained.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    with pytest.raises(CheckpointError, match=r"model\.safetensors holds the weights of another"):
        load_weights(build_model("lightgcn", tiny_data, dataset="movie"), path)


def test_file_is_small(tiny_data, tmp_path):
    for side in ("user", "item"):
        tiny_data[side].x = torch.randn(tiny_data[side].num_nodes, 50_000)
    model = build_model("lightgcn", tiny_data, dataset="movie")
    save_ranker(model, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_size < 20_000


def test_default_ids_and_dtype(tiny_data, tmp_path):
    model = build_model("lightgcn", tiny_data, dataset="movie").double()
    save_ranker(model, tmp_path / "model.safetensors")
    loaded = load_ranker(tmp_path / "model.safetensors")
    assert loaded.user_ids is None
    assert loaded.user_embedding.dtype == torch.float64
    again = tmp_path / "again.safetensors"
    save_ranker(loaded, again)  # what was loaded can be saved
    assert load_ranker(again).recommend(3).equals(model.recommend(3))


def test_errors_of_saving(tiny_data, tmp_path):
    edge_index = tiny_data["user", "rates", "item"].edge_index
    with pytest.raises(ValueError, match="Ranker has no embeddings"):
        save_ranker(Ranker(edge_index, 12, 9), tmp_path / "model.safetensors")
    ranker = EmbeddingRecommender(
        torch.ones(12, 2), torch.ones(9, 2), edge_index, user_ids=[1.5, *range(11)]
    )
    with pytest.raises(ValueError, match=r"'user_ids' has the id 1\.5"):
        save_ranker(ranker, tmp_path / "model.safetensors")
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("keep", [0, 4, 300, 5000])
def test_truncated_file_is_named(trained, tmp_path, keep):
    path = tmp_path / "model.safetensors"
    save_ranker(trained, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        load_ranker(path)


def test_other_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_ranker(tmp_path / "absent.safetensors")
    write_tensors(tmp_path / "run.safetensors", {}, {}, "irllrec_pyg.training/1")
    with pytest.raises(CheckpointError, match=r"run\.safetensors is not a file of kind"):
        load_ranker(tmp_path / "run.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="but something else"):
        load_ranker(tmp_path / "foreign.safetensors")


def test_tensors_come_back_exactly(tmp_path):
    base = torch.randn(4, 4)
    tensors = {
        "float": base,
        "shared": base,
        "view": base.t(),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 2),
        "bool": torch.tensor([True]),
        "half": torch.randn(3).bfloat16(),
        "nan": torch.tensor([float("nan"), -0.0]),
    }
    write_tensors(tmp_path / "new" / "a", tensors, {"x": [1, None]}, "kind")
    got, metadata = read_tensors(tmp_path / "new" / "a", "kind")
    assert metadata == {"x": [1, None]}
    assert got.keys() == tensors.keys()
    for name, value in tensors.items():
        assert got[name].dtype == value.dtype
        assert torch.equal(got[name].nan_to_num(7), value.nan_to_num(7)), name


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_tensors(path, {"a": torch.ones(1)}, {}, "kind")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_tensors(path, {"a": torch.zeros(1)}, {}, "kind")
    assert read_tensors(path, "kind")[0]["a"].item() == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("ids", ["reversed", "absent"])
def test_weights_of_other_ids_are_refused(tiny_data, tmp_path, side, ids):
    tiny_data["user"].raw_id = IDS
    tiny_data["item"].raw_id = [f"book {item}" for item in range(9)]
    model = build_model("lightgcn", tiny_data, dataset="movie")
    save_ranker(model, tmp_path / "model")
    if ids == "reversed":
        tiny_data[side].raw_id = tiny_data[side].raw_id[::-1]
    else:
        del tiny_data[side].raw_id
    with pytest.raises(CheckpointError, match=f"other '{side}_ids' than the model has"):
        load_model(tmp_path / "model", tiny_data)
    other = build_model("lightgcn", tiny_data, dataset="movie")
    before = other.backbone.embedding.detach().clone()
    with pytest.raises(CheckpointError, match=f"other '{side}_ids' than the model has"):
        load_weights(other, tmp_path / "model")
    assert torch.equal(other.backbone.embedding, before)
