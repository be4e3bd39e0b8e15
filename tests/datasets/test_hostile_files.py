r"""Small files that would crash the process, or take its memory or minutes, are refused by name.

Every file is read in a process of its own with a bound on memory and time, since some of them
killed the process that read them.
"""

import contextlib
import json
import pickle
import random
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from irllrec_pyg.datasets import DataFileError
from irllrec_pyg.datasets.formats import read_embedding, read_interactions, read_profiles
from irllrec_pyg.datasets.safe_pickle import safe_load
from tests.conftest import NUM_ITEMS, NUM_USERS, write_pickle, write_published_folder

P4 = b"\x80\x04"
BIG = 2**63 - 1


def _int(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def _compressed(kind: type, pointers: list[int], shape: tuple[int, int] = (4, 3)) -> bytes:
    matrix = kind(np.ones((4, 3)))
    entries = np.zeros(8, np.int32)
    matrix.indptr, matrix.indices, matrix.data = np.array(pointers), entries, np.ones(8)
    matrix._shape = shape
    return pickle.dumps(matrix, 4)


def _coo(row: np.ndarray, col: np.ndarray, shape: tuple[int, int]) -> bytes:
    matrix = sp.coo_matrix((4, 3))
    matrix.coords, matrix.data, matrix._shape = (row, col), np.ones(len(row)), shape
    return pickle.dumps(matrix, 4)


def _nested(empty: bytes, pair: bytes, depth: int) -> bytes:
    r"""A pair of a pair of …, each made of the one before it twice."""
    raw = P4 + empty + b"\x94"
    for level in range(depth):
        raw += b"(" * (pair != b"\x86") + 2 * (b"j" + struct.pack("<I", level)) + pair + b"\x94"
    return raw


FALSE_POINTERS = [0, BIG, -(2**63), -1, 8]
ONE = np.zeros(1, np.int32)
MATRIX_FILES = {
    "CSR pointers that overflow": _compressed(sp.csr_matrix, FALSE_POINTERS),
    "CSC pointers that overflow": _compressed(sp.csc_matrix, FALSE_POINTERS, (3, 4)),
    "CSR pointers that fall": _compressed(sp.csr_matrix, [0, 9, 2, 3, 8]),
    "CSR pointers beyond the entries": _compressed(sp.csr_matrix, [0, 1, 2, 3, 2**62]),
    "CSR with too few pointers": _compressed(sp.csr_matrix, [0, 8]),
    "unsigned pointers": _compressed(sp.csr_matrix, [0, 2**64 - 1, 2**63, 2**63 - 1, 8]),
    "2^33 x 2^33": _coo(ONE, ONE, (2**33, 2**33)),
    "10^30 rows": _coo(ONE, ONE, (10**30, 3)),
    "2^31 - 1 rows": _coo(ONE, ONE, (2**31 - 1, 3)),
    "a billion columns": _coo(ONE, ONE, (3, 10**9)),
    "user id beyond int64": _coo(np.array([2**63 + 1], np.uint64), ONE, (4, 3)),
    "item id of -2^63": _coo(ONE, np.array([-(2**63)]), (4, 3)),
    "more rows than columns": _coo(ONE, np.zeros(2, np.int32), (4, 3)),
    "negative shape": _coo(ONE, ONE, (-4, 3)),
}
MEMO = P4 + b"]r\xff\xff\xff\x7f."
PICKLES = {
    "memo index of 2^31": MEMO,
    "memo index of 2^30 as text": P4 + b"]p1073741824\n.",
    "get from an empty memo": P4 + b"j\xff\xff\xff\x7f.",
    "bytes of 2^40": P4 + b"\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "text of 2^40": P4 + b"\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "bytearray of 2^40": P4 + b"\x96" + struct.pack("<Q", 2**40) + b"x.",
    "frame of 2^60": P4 + b"\x95" + struct.pack("<Q", 2**60) + b"}.",
    "nested frozensets": P4 + b"(\x91\x94" + b"(h\x00K\x01\x91\x94" * 60 + b"(h\x00\x91.",
    "sets": P4 + b"\x8f(K\x01\x90.",
    "tuples of tuples as a key": P4 + b"}" + _nested(b")", b"\x86", 60)[2:] + b"K\x01s.",
    "a deep tuple as a key": P4 + b"})" + b"\x85" * 500_000 + b"K\x01s.",
    "lists of lists": _nested(b"]", b"l", 60) + b".",
    "deep lists": P4 + b"(" * 500_000 + b"l" * 500_000 + b".",
    "containers without end": P4 + b"}" * 1_300_000 + b".",
    "one object again and again": P4 + b"K\x01" + b"2" * 1_300_000 + b".",
    "numbers without end": P4 + b"(" + b"N" * 1_300_000 + b"t.",
    "an integer of a million bytes": P4
    + b"\x8b"
    + struct.pack("<I", 10**6)
    + b"\x7f" * 10**6
    + b".",
    "an integer of a million digits": P4 + b"L" + b"9" * 10**6 + b"L\n.",
    "one text encoded 2,000 times": P4
    + b"c_codecs\nencode\n\x94X"
    + struct.pack("<I", 10**6)
    + b"x" * 10**6
    + b"\x94\x8c\x06latin1\x94]("
    + b"h\x00h\x01h\x02\x86R" * 2000
    + b"e.",
    "extension": P4 + b"\x82\x01.",
    "extension of four bytes": P4 + b"\x84\x01\x00\x00\x00.",
    "persistent id": P4 + b"Px\n.",
    "persistent id of the stack": P4 + b"NQ.",
    "out-of-band buffer": b"\x80\x05\x97.",
    "nothing on the stack": P4 + b"R.",
    "no mark": P4 + b"t.",
    "no end": P4 + b"}",
    "protocol 200": b"\x80\xc8c.",
    "array of 2^62 rows": pickle.dumps(np.ones(3), 2).replace(b"K\x03\x85", _int(2**62) + b"\x85"),
    "array of no width and 2^62 rows": pickle.dumps(np.ones(3), 2).replace(
        b"K\x03\x85", b"K\x00" + _int(2**62) + b"\x86"
    ),
    "array of 100 axes": pickle.dumps(np.ones(3), 2).replace(
        b"K\x03\x85", b"(" + b"K\x01" * 100 + b"t"
    ),
}
PICKLES |= {
    "sparse integers as keys": P4 + b"}" + _int(2**60) + b"Ns.",
    "a negative key": P4 + b"}" + _int(-1) + b"Ns.",
}
# Gigabytes are beyond this process, and a minute is beyond its patience.
READ = """
import json, resource, sys, time
from irllrec_pyg.datasets.formats import read_embedding, read_interactions, read_profiles
from irllrec_pyg.datasets import DataFileError
limit = 1 << 31
vm = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (vm + limit, vm + limit))
for kind, path in json.load(sys.stdin):
    print(path, end="\\t", flush=True)
    started = time.process_time()
    try:
        {"matrix": read_interactions, "text": read_profiles,
         "array": lambda path: read_embedding(path, 4, "user")}[kind](path)
        print("loaded", end="\\t")
    except DataFileError as error:
        print("refused " + str(error).replace("\\n", " ").replace("\\t", " "), end="\\t")
    print(time.process_time() - started, flush=True)
"""


def test_files_that_are_refused(tmp_path: Path) -> None:
    jobs, named = [], []
    for number, raw in enumerate(MATRIX_FILES.values()):
        folder = tmp_path / str(number)
        write_published_folder(folder)
        for name in ("trn_mat.pkl", "val_mat.pkl", "tst_mat.pkl"):
            (folder / name).write_bytes(raw)
        jobs.append(("matrix", str(folder)))
        named.append("trn_mat.pkl")
    for number, (name, raw) in enumerate(PICKLES.items()):
        path = tmp_path / f"{number}_emb.pkl"
        path.write_bytes(raw)
        jobs.append(("array" if name.startswith("array") else "text", str(path)))
        named.append(path.name)
    done = subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    names = [*MATRIX_FILES, *PICKLES]
    assert len(lines) == len(jobs), (names[len(lines) - 1], done.returncode, done.stderr[-2000:])
    for name, file, (_, outcome, seconds) in zip(names, named, lines, strict=True):
        assert outcome.startswith("refused "), (name, outcome)
        assert file in outcome, (name, outcome)
        assert float(seconds) < 30, (name, seconds)  # minutes, or for ever, without the limits


@pytest.mark.parametrize("file", ["trn_mat.pkl", "usr_emb_np.pkl"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_flipped_bits_are_refused_or_give_valid_data(
    tmp_path: Path, file: str, protocol: int
) -> None:
    folder = write_published_folder(tmp_path / "raw")
    whole = pickle.dumps(pickle.loads((folder / file).read_bytes()), protocol)
    rng = random.Random(protocol)
    for _ in range(150):
        at = rng.randrange(len(whole))
        flipped = bytes([whole[at] ^ (1 << rng.randrange(8))])
        (folder / file).write_bytes(whole[:at] + flipped + whole[at + 1 :])
        with contextlib.suppress(DataFileError), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a pair in two splits
            if file == "trn_mat.pkl":
                found = read_interactions(folder)
                for split in found.splits:
                    assert (split >= 0).all()
                    assert (split[0] < found.num_users).all()
                    assert (split[1] < found.num_items).all()
            else:
                vectors = read_embedding(folder / file, NUM_USERS, "user")
                assert vectors.isfinite().all()
                assert vectors.size(0) == NUM_USERS


def test_long_file_of_texts_is_read(tmp_path: Path) -> None:
    r"""The limits are far from a real file: the texts of 30,000 users."""
    table = {user: {"profile": f"text {user}", "reasoning": "same"} for user in range(30_000)}
    assert read_profiles(write_pickle(tmp_path / "usr_prf.pkl", table)) == table


def test_texts_of_many_users_are_read_in_their_order(tmp_path: Path) -> None:
    table: dict[int, dict[str, str]] = {user: {} for user in range(300_000)}
    assert len(read_profiles(write_pickle(tmp_path / "usr_prf.pkl", table))) == 300_000
    table = {user: {} for user in reversed(range(300_000))}
    with pytest.raises(DataFileError, match=r"usr_prf\.pkl.*with the key 299999 among 0; keys are"):
        read_profiles(write_pickle(tmp_path / "usr_prf.pkl", table))


def test_data_set_of_many_idle_users_is_read(tmp_path: Path) -> None:
    folder = write_published_folder(tmp_path / "raw")
    for name in ("trn_mat", "val_mat", "tst_mat"):
        raw = _coo(np.array([1_999_999], np.int32), ONE, (2_000_000, NUM_ITEMS))
        (folder / f"{name}.pkl").write_bytes(raw)
    with pytest.warns(UserWarning, match="lie both"):
        assert read_interactions(folder).num_users == 2_000_000


def test_memo_index_is_refused_before_it_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(MEMO)
    with pytest.raises(DataFileError, match=r"a\.pkl cannot be read: it numbers an object 2147"):
        safe_load(tmp_path / "a.pkl")
