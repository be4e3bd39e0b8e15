r"""Files of tensors that were changed: headers, bytes, hashes."""

import random
import struct

import pytest
import torch
from safetensors.torch import save_file

from irllrec_pyg.checkpoint import load_ranker, save_ranker
from irllrec_pyg.tensor_file import CheckpointError

from .test_checkpoint_tampering import ranker


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.safetensors"
    save_ranker(ranker(user_ids=["a", "b", "c", 7], item_ids=[1, 2, 3]), file, note="x")
    return file


def header_of(content):
    (size,) = struct.unpack("<Q", content[:8])
    return content[8 : 8 + size], content[8 + size :]


def with_header(header, data=b""):
    return struct.pack("<Q", len(header)) + header + data


ENTRY = b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
HEADERS = {
    "empty file": b"",
    "header of gigabytes": struct.pack("<Q", 3 << 30) + b"{}",
    "header of 2^64 - 1 bytes": b"\xff" * 8 + b"{}",
    "header of a million keys": with_header(
        b"{" + b",".join(ENTRY % at for at in range(1_000_000)) + b"}"
    ),
    "header of 20,000 keys": with_header(
        b"{" + b",".join(ENTRY % at for at in range(20_000)) + b"}"
    ),
    "20,000 keys in other words": with_header(
        b"{" + b",".join(b'"%d":{}' % at for at in range(20_000)) + b"}"
    ),
    "deep header": with_header(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "header is a list": with_header(b"[1]"),
    "metadata is a list": with_header(b'{"__metadata__":[1]}'),
    "metadata holds numbers": with_header(b'{"__metadata__":{"kind":3}}'),
    "header is no UTF-8": with_header(b'{"\xff":1}'),
    "header of zeros": with_header(b"\0" * 64),
    "zeros": b"\0" * 648,
    "header without end": with_header(b'{"__metadata__":{'),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_are_none_are_refused(tmp_path, name):
    file = tmp_path / "model.safetensors"
    file.write_bytes(HEADERS[name])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        load_ranker(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ranker/2", "ranker/9", "is of version 9 .* update irllrec_pyg"),
        ("ranker/2", "ranker/x", "is not a file of kind"),
        ("ranker/2", "runner/2", "is not a file of kind"),
        ("blake2b", "blake2x", "has no hash"),
    ],
)
def test_other_kinds_and_files_without_a_hash(path, old, new, message):
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
    with pytest.raises(CheckpointError, match=rf"model\.safetensors .*{message}"):
        load_ranker(path)


@pytest.mark.parametrize("structure", ["[" * 100_000 + "]" * 100_000, "[1, 2", "3", '"x"'])
def test_metadata_that_is_none_is_refused(tmp_path, structure):
    header = {"kind": "irllrec_pyg.ranker/1", "json": structure}
    save_file({"a": torch.ones(1)}, tmp_path / "model", header)
    with pytest.raises(CheckpointError, match="model is damaged"):
        load_ranker(tmp_path / "model")


@pytest.mark.parametrize("seed", range(4))
def test_every_flipped_bit_is_noticed(path, seed):
    rng = random.Random(seed)
    good = path.read_bytes()
    assert len(good) < 3000
    for _ in range(200):
        at, bit = rng.randrange(len(good)), rng.randrange(8)
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load_ranker(path)
    path.write_bytes(good)
    load_ranker(path)


def test_a_flip_at_every_place_of_the_header_is_noticed(path):
    good = path.read_bytes()
    header, _ = header_of(good)
    for at in range(8 + len(header)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(CheckpointError):
            load_ranker(path)


@pytest.mark.parametrize("cut", [1, 8, 100])
def test_what_is_cut_off_or_added_is_noticed(path, cut):
    good = path.read_bytes()
    for content in (good[:-cut], good + b"\0" * cut):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is damaged"):
            load_ranker(path)
