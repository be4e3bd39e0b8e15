"""Checkpoints that somebody has changed: each is refused with an error that names the file."""

import json
import struct
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from irllrec_pyg.checkpoint import (
    KIND,
    EmbeddingRecommender,
    load_model,
    load_ranker,
    load_weights,
    save_ranker,
)
from irllrec_pyg.published import build_model
from irllrec_pyg.tensor_file import CheckpointError, content_hash, read_tensors, write_tensors

USERS, ITEMS = 4, 3
EDGES = torch.tensor([[0, 0, 1, 3], [0, 2, 1, 1]])
HUGE = torch.tensor([0, 2**63 - 1, -(2**63), -1, 4])


def ranker(**ids):
    generator = torch.Generator().manual_seed(0)
    return EmbeddingRecommender(
        torch.randn(USERS, 2, generator=generator),
        torch.randn(ITEMS, 2, generator=generator),
        EDGES,
        **ids,
    )


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.safetensors"
    save_ranker(ranker(user_ids=["a", "b", "c", 7], item_ids=[1, 2, 3]), file, note="x")
    return file


def text(value):
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def with_value(name, at, value):
    def change(tensors, metadata):
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[at] = value

    return change


def with_tensor(name, value):
    def change(tensors, metadata):
        tensors[name] = value(tensors[name]) if callable(value) else value

    return change


def with_new(name, value):
    return lambda tensors, metadata: tensors.update({name: value})


def with_metadata(name, value):
    return lambda tensors, metadata: metadata.update({name: value})


def without(*names):
    def change(tensors, metadata):
        for name in names:
            (tensors if name in tensors else metadata).pop(name)

    return change


# What is changed, and what the error says about it. The hash is right in all of them.
CHANGES = {
    "pointer wraps around": (with_tensor("seen_ptr", HUGE), "'seen_ptr' must rise"),
    "pointer falls": (with_tensor("seen_ptr", torch.tensor([0, 3, 2, 3, 4])), "must rise"),
    "pointer begins late": (with_value("seen_ptr", 0, 1), "must rise"),
    "pointer ends early": (with_value("seen_ptr", -1, 3), "must rise"),
    "pointer ends beyond": (with_value("seen_ptr", -1, 2**40), "must rise"),
    "pointer of fewer users": (with_tensor("seen_ptr", lambda t: t[1:]), "must rise"),
    "pointer is empty": (with_tensor("seen_ptr", lambda t: t[:0]), "must rise"),
    "pointer is a scalar": (with_tensor("seen_ptr", torch.tensor(0)), "vector of int64"),
    "pointer of int32": (with_tensor("seen_ptr", lambda t: t.int()), "vector of int64"),
    "pointer of floats": (with_tensor("seen_ptr", lambda t: t.float()), "vector of int64"),
    "pointer as a matrix": (with_tensor("seen_ptr", lambda t: t[None]), "vector of int64"),
    "no pointer": (without("seen_ptr"), "'seen_ptr' is missing"),
    "item is negative": (with_value("seen_item", 1, -1), "'seen_item' must lie between"),
    "item does not exist": (with_value("seen_item", 1, ITEMS), "'seen_item' must lie between"),
    "item is huge": (with_value("seen_item", 0, 2**62), "'seen_item' must lie between"),
    "items of int16": (with_tensor("seen_item", lambda t: t.short()), "vector of int64"),
    "no items": (without("seen_item"), "'seen_item' is missing"),
    "known without items": (without("known_item"), "'known_item' must be a vector"),
    "no user embeddings": (without("user_embedding"), "'user_embedding' is missing"),
    "no item embeddings": (without("item_embedding"), "'item_embedding' is missing"),
    "embedding is NaN": (with_value("user_embedding", 0, float("nan")), "NaN or infinite"),
    "embedding is infinite": (with_value("item_embedding", 0, float("inf")), "NaN or infinite"),
    "embeddings of integers": (with_tensor("user_embedding", lambda t: t.long()), "of numbers"),
    "embeddings are complex": (with_tensor("user_embedding", lambda t: t + 0j), "of numbers"),
    "embeddings as a vector": (with_tensor("user_embedding", lambda t: t[:, 0]), "of numbers"),
    "embeddings of nobody": (with_tensor("user_embedding", lambda t: t[:0]), "of numbers"),
    "embeddings of other widths": (with_tensor("item_embedding", torch.ones(3, 5)), "5 in|5 wide"),
    "embeddings of other types": (with_tensor("item_embedding", lambda t: t.double()), "float64"),
    "embeddings of more users": (with_tensor("user_embedding", torch.ones(9, 2)), "must rise"),
    "ids are no text": (with_tensor("user_ids", torch.ones(3)), "'user_ids' must be bytes"),
    "ids are no UTF-8": (with_tensor("user_ids", text(b'["\xff\xfe"]')), "must be a list in JSON"),
    "ids are no JSON": (with_tensor("user_ids", text(b"[1, 2")), "must be a list in JSON"),
    "ids are a mapping": (with_tensor("user_ids", text({"a": 1})), "must be a list of 4"),
    "an id is missing": (with_tensor("user_ids", text([1, 2, 3])), "must be a list of 4"),
    "an id occurs twice": (with_tensor("item_ids", text([1, 1, 3])), "must be distinct"),
    "an id is a list": (with_tensor("item_ids", text([1, [2], 3])), "numbers and strings"),
    "an id is true": (with_tensor("item_ids", text([True, 2, 3])), "numbers and strings"),
    "an id is a fraction": (with_tensor("item_ids", text([1.5, 2, 3])), "numbers and strings"),
    "an id is null": (with_tensor("item_ids", text([None, 2, 3])), "numbers and strings"),
    "ids are deep": (
        with_tensor("item_ids", text(b"[" * 100_000 + b"]" * 100_000)),
        "must be a list",
    ),
    "an id has 100,000 digits": (
        with_tensor("item_ids", text(b"[" + b"9" * 100_000 + b",1,2]")),
        "must be a list in JSON",
    ),
    "an id has more than 64 bits": (with_tensor("item_ids", text([2**64, 2, 3])), "64 bits"),
    "a tensor of nobody": (with_new("x", torch.ones(1)), "'x' is no part of a model"),
    "info is a list": (with_metadata("info", [1]), "'info' must be"),
    "no info": (without("info"), "'info' must be"),
    "class is a number": (with_metadata("class", 3), "'class' must be"),
    "no class": (without("class"), "'class' must be"),
    "weight is NaN": (with_value("state.user_embedding", 3, float("nan")), "NaN or infinite"),
}


def test_metadata_that_would_fill_the_memory_are_refused(tmp_path):
    """Three bytes for each empty list, which takes 64 in memory."""
    file = tmp_path / "model.safetensors"
    content = json.dumps({"__metadata__": {"kind": KIND, "json": "[" + "[]," * 2_000_001}})
    file.write_bytes(struct.pack("<Q", len(content)) + content.encode())
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged .*2000000 lists"):
        load_ranker(file)
    with pytest.raises(ValueError, match="2000000 lists and mappings"):
        write_tensors(tmp_path / "other", {}, {"a": [[]] * 2_000_001}, KIND)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lightgcn", {"embedding_size": 10**9}, "'embedding_size' must be at most 65536"),
        ("lightgcn", {"embedding_size": 65536}, "more weights than it has"),
        ("lightgcn", {"num_layers": 10**9}, "'num_layers' must be at most 100"),
        ("dccf", {"num_intents": 65536}, "more weights than it has"),
        ("gnn", {"num_layers": 100}, "more weights than it has"),
        ("gnn", {"gnn": "os.system"}, "Unknown gnn 'os.system'"),
        ("autocf", {"num_transformers": 100}, "more weights than it has"),
        ("autocf", {"heads": 5}, "'heads' must divide 'embedding_size'"),
    ],
)
def test_settings_that_do_not_fit_the_weights_build_nothing(
    tiny_data, tmp_path, name, settings, message
):
    file = tmp_path / "model.safetensors"
    save_ranker(build_model(name, tiny_data), file)
    assert load_model(file).backbone.registered_name == name
    tensors, metadata = read_tensors(file, KIND)
    metadata["model"]["backbone"].update(settings)
    write_tensors(file, tensors, metadata, KIND)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors .*{message}"):
        load_model(file)


@pytest.mark.parametrize("heads", [{"profile": 1}, {"profile": []}, [["profile"]], 3])
def test_heads_that_are_none_are_refused(path, heads):
    tensors, metadata = read_tensors(path, KIND)
    metadata["model"] = {"backbone": "lightgcn", "heads": heads}
    write_tensors(path, tensors, metadata, KIND)
    with pytest.raises(CheckpointError, match=r"model\.safetensors holds a model that cannot be"):
        load_model(path)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("version", [1, 2])
def test_changed_fields_are_named(path, name, version):
    change, message = CHANGES[name]
    tensors, metadata = read_tensors(path, KIND)
    change(tensors, metadata)
    if version == 1:  # as 0.1.0 wrote them, without a hash
        header = {"kind": "irllrec_pyg.ranker/1", "json": json.dumps(metadata)}
        save_file({key: value.clone() for key, value in tensors.items()}, path, header)
    else:
        write_tensors(path, tensors, metadata, KIND)
    for load in (load_ranker, lambda file: load_weights(ranker(), file)):
        with pytest.raises(CheckpointError, match=rf"model\.safetensors is damaged.*({message})"):
            load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("state.user_embedding"), "'user_embedding' is missing"),
        (with_tensor("state.user_embedding", lambda t: t[:1]), r"shape \(4, 2\), got"),
        (with_tensor("state.user_embedding", lambda t: t.long()), "must be torch.float32"),
        (lambda tensors, _: tensors.update({"state.x": torch.ones(1)}), "'x' is not known"),
    ],
)
def test_other_weights_leave_the_model_as_it_was(path, change, message):
    tensors, metadata = read_tensors(path, KIND)
    change(tensors, metadata)
    tensors["state.item_embedding"] = tensors["state.item_embedding"] + 1
    write_tensors(path, tensors, metadata, KIND)
    model = ranker()
    with pytest.raises(CheckpointError, match=f"weights of another model.*{message}"):
        load_weights(model, path)
    assert torch.equal(model.item_embedding, ranker().item_embedding)


def test_a_pointer_that_wraps_around_does_not_end_the_process(path):
    """The process of 0.1.0 ended with a segmentation fault."""
    tensors, metadata = read_tensors(path, KIND)
    tensors["seen_ptr"] = HUGE
    header = {"kind": "irllrec_pyg.ranker/1", "json": json.dumps(metadata)}
    save_file({key: value.clone() for key, value in tensors.items()}, path, header)
    code = (
        "import sys\nfrom irllrec_pyg.checkpoint import CheckpointError, load_ranker\n"
        "try:\n    load_ranker(sys.argv[1])\n"
        "except CheckpointError as error:\n    print('refused', error)"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, path], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("refused")
    assert str(path) in run.stdout


def test_files_of_the_first_version_still_load(path):
    whole = load_ranker(path)
    tensors, metadata = read_tensors(path, KIND)
    header = {"kind": "irllrec_pyg.ranker/1", "json": json.dumps(metadata)}
    save_file({key: value.clone() for key, value in tensors.items()}, path, header)
    old = load_ranker(path)
    assert old.recommend(k=2).equals(whole.recommend(k=2))
    assert old.user_ids == ["a", "b", "c", 7]
    assert content_hash(path, KIND) == ""
    again = ranker(user_ids=["a", "b", "c", 7], item_ids=[1, 2, 3])
    assert load_weights(again, path) == {"note": "x"}


def test_the_hash_tells_files_apart(tmp_path):
    first = save_ranker(ranker(), tmp_path / "a", note=1)
    assert content_hash(tmp_path / "a", KIND) == first
    assert save_ranker(ranker(), tmp_path / "b", note=2) != first
    other = ranker()
    other.item_embedding[0, 0] += 1
    assert save_ranker(other, tmp_path / "b", note=1) != first


def test_known_pairs_come_back(tmp_path):
    model = ranker()
    model.register_buffer("known_ptr", torch.tensor([0, 3, 4, 5, 6]), persistent=False)
    model.register_buffer("known_item", torch.tensor([0, 1, 2, 1, 0, 1]), persistent=False)
    save_ranker(model, tmp_path / "model")
    loaded = load_ranker(tmp_path / "model")
    assert loaded.known_ptr.tolist() == [0, 3, 4, 5, 6]
    assert loaded.known_item.tolist() == [0, 1, 2, 1, 0, 1]
    assert torch.equal(loaded.seen_item, model.seen_item)


def test_a_model_that_is_not_a_number_is_not_saved(tmp_path):
    save_ranker(ranker(), tmp_path / "model")
    model = ranker()
    model.user_embedding[2, 1] = float("nan")
    with pytest.raises(ValueError, match="'user_embedding' of EmbeddingRecommender is NaN"):
        save_ranker(model, tmp_path / "model")
    with pytest.raises(ValueError, match="'user_ids' must be distinct"):
        save_ranker(ranker(user_ids=[1, 2, 2, 3]), tmp_path / "model")
    assert torch.equal(load_ranker(tmp_path / "model").user_embedding, ranker().user_embedding)


def test_loaded_tensors_lie_where_pytorch_puts_its_own(tmp_path):
    """Products of matrices round differently with the place of these in memory."""
    tensors = {f"{at}": torch.randn(at) for at in range(1, 30)}
    write_tensors(tmp_path / "a", tensors, {}, "kind")
    for name, tensor in read_tensors(tmp_path / "a", "kind")[0].items():
        assert torch.equal(tensor, tensors[name])
        assert tensor.data_ptr() % 64 == 0
