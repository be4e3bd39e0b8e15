import pickle
import shutil
import socket
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, SAGEConv

from irllrec_pyg.datasets import DataFileError, IRLLRecDataset, irllrec_dataset
from tests.conftest import NUM_ITEMS, NUM_USERS, shared_path, write_pickle, write_published_folder

RATES = ("user", "rates", "item")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(irllrec_dataset, "_warned", set())


def test_graph(published_folder, tmp_path):
    dataset = IRLLRecDataset(tmp_path, "tiny")
    assert len(dataset) == 1
    assert (dataset.num_users, dataset.num_items) == (NUM_USERS, NUM_ITEMS)
    assert repr(dataset) == "IRLLRecDataset(tiny, users=12, items=9, x=6, intent=5)"
    data = dataset[0]
    assert isinstance(data, HeteroData)
    assert data.validate()
    assert data.name == "tiny"
    assert "missing" not in data
    assert "raw_id" not in data["user"]
    for side, size, files in (
        ("user", NUM_USERS, ("usr_emb_np", "user_intent_emb_3")),
        ("item", NUM_ITEMS, ("itm_emb_np", "item_intent_emb_3")),
    ):
        assert data[side].num_nodes == size
        for field, file in zip(("x", "intent"), files, strict=True):
            oracle = pickle.loads((published_folder / f"{file}.pkl").read_bytes())
            assert torch.equal(data[side][field], torch.from_numpy(oracle))
    for split, key in (
        ("trn", "edge_index"),
        ("val", "val_edge_label_index"),
        ("tst", "edge_label_index"),
    ):
        oracle = pickle.loads((published_folder / f"{split}_mat.pkl").read_bytes()).toarray()
        assert data[RATES][key].t().tolist() == np.argwhere(oracle).tolist()
    reverse = data["item", "rated_by", "user"].edge_index
    assert torch.equal(reverse, data[RATES].edge_index.flip([0]))


def test_statistics(published_folder, tmp_path):
    table = IRLLRecDataset(tmp_path, "tiny").statistics()
    train, test = (
        pickle.loads((published_folder / f"{split}_mat.pkl").read_bytes()).toarray()
        for split in ("trn", "tst")
    )
    row = table.loc["tiny"]
    assert row["train"] == np.count_nonzero(train)
    assert row["density"] == np.count_nonzero(train) / train.size
    assert row["users_with_test"] == np.count_nonzero(test.any(axis=1))
    assert (row["x_width"], row["intent_width"]) == (6, 5)


def test_archives_unpack_without_a_raw_folder(tmp_path):
    write_published_folder(tmp_path / "flat")
    assert IRLLRecDataset(tmp_path, "flat").num_users == NUM_USERS


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp"])
def test_name_is_a_folder_of_root(tmp_path, name):
    with pytest.raises(ValueError, match="'name' must be the name of a folder inside"):
        IRLLRecDataset(tmp_path, name)


def test_missing_embeddings_warn_once(published_folder, tmp_path):
    for file in ("user_intent_emb_3.pkl", "item_intent_emb_3.pkl", "itm_emb_np.pkl"):
        (published_folder / file).unlink()
    with pytest.warns(UserWarning, match="no 'intent' embeddings") as caught:
        dataset = IRLLRecDataset(tmp_path, "tiny")
    assert len(caught) == 1
    data = dataset[0]
    assert set(data.missing) == {"x", "intent"}
    assert str(caught[0].message) == "\n".join(data.missing.values())
    for field, files in (
        ("x", "itm_emb_np.pkl missing (the file of the other side is there)"),
        ("intent", "user_intent_emb_3.pkl and item_intent_emb_3.pkl missing."),
    ):
        assert files in data.missing[field]
        assert f"Put into: {published_folder}" in data.missing[field]
        assert field not in data["user"]
        assert field not in data["item"]
    assert repr(dataset) == "IRLLRecDataset(tiny, users=12, items=9, x=missing, intent=missing)"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = IRLLRecDataset(tmp_path, "tiny")
    assert again[0].missing == data.missing

    write_pickle(published_folder / "itm_emb_np.pkl", np.ones((NUM_ITEMS, 6), np.float32))
    with pytest.warns(UserWarning, match="no 'intent' embeddings"):
        dataset = IRLLRecDataset(tmp_path, "tiny")
    assert list(dataset[0].missing) == ["intent"]
    assert dataset[0]["user"].x.shape == (NUM_USERS, 6)


def test_missing_says_where_now_after_the_folder_moved(published_folder, tmp_path):
    (published_folder / "user_intent_emb_3.pkl").unlink()
    with pytest.warns(UserWarning, match="intent"):
        IRLLRecDataset(tmp_path, "tiny")
    shutil.move(tmp_path / "tiny", tmp_path / "other")
    with pytest.warns(UserWarning, match="intent"):
        data = IRLLRecDataset(tmp_path, "other")[0]
    assert data.name == "other"
    assert str(tmp_path / "other" / "raw") in data.missing["intent"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("movie", ["drive.google.com", "'movie'", "download_text=True"]),
        ("amazon", ["drive.google.com", "'book'", "download_text=True"]),
        ("steam", ["github.com/HKUDS/RLMRec", "Nobody published"]),
        ("mine", ["Nobody published", "embed your texts"]),
    ],
)
def test_missing_says_where_to_get(tmp_path, name, words):
    folder = write_published_folder(tmp_path / name / "raw")
    for path in folder.glob("*_emb_*"):
        path.unlink()
    with pytest.warns(UserWarning, match=name) as caught:
        IRLLRecDataset(tmp_path, name)
    for word in words:
        assert word in str(caught[0].message)


def test_unknown_data_set_without_files(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        IRLLRecDataset(tmp_path, "mine")
    assert str(tmp_path / "mine" / "raw") in str(error.value)
    assert "trn_mat.pkl, val_mat.pkl, tst_mat.pkl" in str(error.value)


def test_shapes_of_splits_and_embeddings_must_fit(published_folder, tmp_path):
    write_pickle(published_folder / "itm_emb_np.pkl", np.ones((NUM_ITEMS + 1, 6), np.float32))
    with pytest.raises(DataFileError, match=r"itm_emb_np\.pkl has shape \(10, 6\).* 9 items"):
        IRLLRecDataset(tmp_path, "tiny")


def test_sample_set_comes_without_network(tmp_path):
    dataset = IRLLRecDataset(tmp_path, "sample")
    data = dataset[0]
    assert "missing" not in data
    for side in ("user", "item"):
        assert data[side].x.size(0) == data[side].intent.size(0) == data[side].num_nodes
    (tmp_path / "sample" / "raw" / "usr_emb_np.pkl").unlink()
    assert "missing" not in IRLLRecDataset(tmp_path, "sample")[0]


@pytest.mark.parametrize(
    ("name", "users", "items", "sizes", "tested"),
    [
        ("amazon", 11000, 9332, (120464, 40290, 40106), 9860),
        ("yelp", 11091, 11010, (166620, 55479, 55436), 10593),
        ("movie", 16994, 9370, (134649, 16799, 16795), 9577),
    ],
)
@pytest.mark.filterwarnings("ignore:Data set:UserWarning")
def test_published_data_sets(tmp_path, name, users, items, sizes, tested):
    shutil.copytree(shared_path(f"data/{name}"), tmp_path / name / "raw")
    row = IRLLRecDataset(tmp_path, name).statistics().loc[name]
    assert (row["users"], row["items"]) == (users, items)
    assert (row["train"], row["val"], row["test"]) == sizes
    assert row["users_with_test"] == tested


def test_stand_in_data_of_the_parity_cases(tmp_path):
    shutil.copytree(shared_path("parity/cases/data"), tmp_path / "case" / "raw")
    data = IRLLRecDataset(tmp_path, "case")[0]
    train = pickle.loads(shared_path("parity/cases/data/trn_mat.pkl").read_bytes())
    dense = sp.coo_matrix(train).toarray() != 0
    assert data[RATES].edge_index.t().tolist() == np.argwhere(dense).tolist()
    assert {"x", "intent"} <= set(data["user"].keys())


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_embeddings_are_float32_and_feed_a_plain_convolution(published_folder, tmp_path, dtype):
    for name, size in (("usr_emb_np", NUM_USERS), ("itm_emb_np", NUM_ITEMS)):
        vectors = np.linspace(-1, 1, size * 6).reshape(size, 6).astype(dtype)
        write_pickle(published_folder / f"{name}.pkl", vectors)
    data = IRLLRecDataset(tmp_path, "tiny")[0]
    assert (
        data["user"].x.tolist()
        == np.linspace(-1, 1, NUM_USERS * 6).reshape(-1, 6).astype(dtype).astype("f4").tolist()
    )
    _convolve(data, 6)


def test_sample_feeds_a_plain_convolution(tmp_path):
    _convolve(IRLLRecDataset(tmp_path, "sample")[0], 256)


def _convolve(data, width):
    model = HeteroConv(
        {
            RATES: SAGEConv((width, width), 4),
            ("item", "rated_by", "user"): SAGEConv((width, width), 4),
        }
    )
    for side, out in model(data.x_dict, data.edge_index_dict).items():
        assert out.shape == (data[side].num_nodes, 4)
        assert out.dtype == torch.float32


def test_texts_of_items_alone_are_read(published_folder, tmp_path):
    (published_folder / "usr_emb_np.pkl").unlink()
    with pytest.warns(UserWarning, match="no 'x' embeddings of users") as caught:
        dataset = IRLLRecDataset(tmp_path, "tiny")
    data = dataset[0]
    oracle = pickle.loads((published_folder / "itm_emb_np.pkl").read_bytes())
    assert torch.equal(data["item"].x, torch.from_numpy(oracle))
    assert "x" not in data["user"]
    assert list(data.missing) == ["x"]
    assert "usr_emb_np.pkl missing. The mean of the embeddings of a user" in data.missing["x"]
    assert len(caught) == 1
    assert repr(dataset) == "IRLLRecDataset(tiny, users=12, items=9, x=6, intent=5)"
    assert dataset.statistics().loc["tiny", "x_width"] == 6
    write_pickle(published_folder / "usr_emb_np.pkl", np.ones((NUM_USERS, 6), np.float32))
    assert IRLLRecDataset(tmp_path, "tiny")[0]["user"].x.shape == (NUM_USERS, 6)
