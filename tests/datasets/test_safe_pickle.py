r"""Hostile and odd pickles: nothing of them runs, and every error names the file."""

import contextlib
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from irllrec_pyg.datasets.safe_pickle import (
    DataFileError,
    SparseEntries,
    UnsafePickleError,
    safe_load,
)
from tests.conftest import shared_path, write_pickle

MATRIX = np.array([[0, 2.0, 0], [1, 0, 0], [0, 0, 0], [0, -1, 3]])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "kind", [sp.coo_matrix, sp.csr_matrix, sp.csc_matrix, sp.coo_array, sp.csr_array, sp.csc_array]
)
@pytest.mark.parametrize("old_names", [False, True])
def test_sparse_matrices(tmp_path, protocol, kind, old_names):
    raw = pickle.dumps(kind(MATRIX), protocol)
    if old_names:
        raw = _with_old_names(raw)
    path = tmp_path / "m.pkl"
    path.write_bytes(raw)
    entries = safe_load(path)
    assert isinstance(entries, SparseEntries)
    dense = np.zeros(entries.shape)
    dense[entries.row, entries.col] = entries.value
    assert dense.tolist() == MATRIX.tolist()


def _with_old_names(raw: bytes) -> bytes:
    r"""Renames modules as old NumPy and SciPy called them, fixing the lengths of short strings."""
    for new, old in (
        (b"numpy._core.multiarray", b"numpy.core.multiarray"),
        (b"numpy._core.numeric", b"numpy.core.numeric"),
        (b"scipy.sparse._coo", b"scipy.sparse.coo"),
        (b"scipy.sparse._csr", b"scipy.sparse.csr"),
        (b"scipy.sparse._csc", b"scipy.sparse.csc"),
        (b"scipy.sparse._lil", b"scipy.sparse.lil"),
        (b"scipy.sparse._dok", b"scipy.sparse.dok"),
    ):
        raw = raw.replace(b"\x8c" + bytes([len(new)]) + new, b"\x8c" + bytes([len(old)]) + old)
        raw = raw.replace(b"c" + new + b"\n", b"c" + old + b"\n")
    start = raw.find(b"\x95")  # the length of the frame changes with the names
    if raw[1] >= 4 and start == 2:
        raw = raw[:3] + struct.pack("<Q", len(raw) - 11) + raw[11:]
    return raw


def test_state_of_old_scipy(tmp_path):
    r"""SciPy before 1.13 pickled ``row`` and ``col`` instead of ``coords``."""

    class coo_matrix:
        def __init__(self, **state):
            self.__dict__.update(state)

    coo_matrix.__module__, coo_matrix.__qualname__ = "scipy.sparse.coo", "coo_matrix"
    row, col = np.array([0, 1], np.int32), np.array([2, 0], np.int32)
    value = coo_matrix(_shape=(2, 3), maxprint=50, row=row, col=col, data=np.ones(2))
    stream = io.BytesIO()
    pickler = pickle._Pickler(stream, 4)  # the Python one, whose look-up of globals can be replaced
    pickler.save_global = lambda obj, name=None: pickler.write(
        f"c{'scipy.sparse.coo' if obj is coo_matrix else obj.__module__}\n{obj.__name__}\n".encode()
    )
    pickler.dispatch = {**pickle._Pickler.dispatch, type: lambda p, obj: p.save_global(obj)}
    pickler.dump(value)
    (tmp_path / "m.pkl").write_bytes(stream.getvalue())
    entries = safe_load(tmp_path / "m.pkl")
    assert entries.row.tolist() == [0, 1]
    assert entries.col.tolist() == [2, 0]
    assert entries.shape == (2, 3)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
        np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2],
        np.zeros((0, 3), np.float32),
        np.array([True, False]),
        np.arange(4, dtype=np.uint8),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_arrays(tmp_path, protocol, array):
    value = safe_load(write_pickle(tmp_path / "a.pkl", array, protocol))
    assert value.dtype == array.dtype
    assert value.shape == array.shape
    assert value.tolist() == array.tolist()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_texts(tmp_path, protocol):
    table = {0: {"profile": "grün", "reasoning": ""}, 1: {"profile": "b"}}
    assert safe_load(write_pickle(tmp_path / "p.pkl", table, protocol)) == table


class _Call:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def _hostile(mark: Path) -> dict[str, bytes]:
    r"""Pickles that would make the file :obj:`mark`, or misuse a name, by every opcode that can."""
    command = f"touch {mark}"
    system = f"V{command}\n".encode()
    text = struct.pack("<I", len(command)) + command.encode()
    pwn = _Call(exec, f"open({str(mark)!r}, 'w').close()")
    return {
        "REDUCE": b"cos\nsystem\n(" + system + b"tR.",
        "INST": b"(" + system + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + system + b"o.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\n(" + system + b"I-1\nNI0\nNNNI0\nI1\nt\x81.",
        "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n(" + system + b"t}(Vshell\nI01\nu\x92.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93(X" + text + b"tR.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93)R.",
        "getattr": b"cbuiltins\ngetattr\n(cnumpy\nndarray\nVdump\ntR.",
        "exec": pickle.dumps(pwn),
        "exec in an object array": pickle.dumps(np.array([pwn, None], dtype=object)),
        "exec in an array, protocol 5": pickle.dumps([np.ones(3), pwn], 5),
        "exec in a dictionary key": pickle.dumps({(1, 2): {"profile": [pwn]}}),
        "nested pickle": pickle.dumps(_Call(pickle.loads, pickle.dumps(pwn))),
        "numpy.load": b"cnumpy\nload\n(Vx.npy\nNI01\ntR.",
        "codecs.decode": b"c_codecs\ndecode\n(Vx\nVrot13\ntR.",
        "codecs.encode": b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        "bytes of a huge length": b"c__builtin__\nbytes\n(I99999999999\ntR.",
        "copyreg": b"ccopy_reg\n_reconstructor\n(cnumpy\nndarray\ncnumpy\nndarray\nNtR.",
        "extension registry": b"\x80\x02\x82\x01)R.",
        "persistent id": b"Pos.system\n.",
    }


@pytest.mark.parametrize("name", list(_hostile(Path("mark"))))
def test_hostile_pickle_runs_nothing(tmp_path, name):
    mark, path = tmp_path / "mark", tmp_path / "trn_mat.pkl"
    path.write_bytes(_hostile(mark)[name])
    with pytest.raises(DataFileError, match=r"trn_mat\.pkl"):
        safe_load(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["REDUCE", "INST", "OBJ", "STACK_GLOBAL", "exec", "nested pickle"])
def test_hostile_pickles_are_real(tmp_path, name):
    r"""The plain loader does run them: the test above is not empty."""
    pickle.loads(_hostile(tmp_path / "mark")[name])
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["REDUCE", "STACK_GLOBAL", "exec", "numpy.load", "getattr"])
def test_forbidden_name_is_said(tmp_path, name):
    path = tmp_path / "a.pkl"
    path.write_bytes(_hostile(tmp_path / "mark")[name])
    with pytest.raises(UnsafePickleError, match=r"asks for .* Nothing of it was run"):
        safe_load(path)
    with pytest.raises(pickle.UnpicklingError):
        safe_load(path)


@pytest.mark.parametrize(
    "target", ["cscipy.sparse._coo\ncoo_matrix\n", "cnumpy\nndarray\n", "c_codecs\nencode\n"]
)
@pytest.mark.parametrize("slots", [False, True])
def test_build_changes_no_class(tmp_path, target, slots):
    r"""BUILD on an imported name would set attributes on it, for the whole process."""
    state = b"}Vshape\nI1\ns"
    state = b"N" + state + b"\x86" if slots else state
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02" + target.encode() + state + b"b.")
    with pytest.raises(DataFileError):
        safe_load(path)
    assert isinstance(sp.coo_matrix.shape, property)
    matrix = safe_load(write_pickle(tmp_path / "m.pkl", sp.coo_matrix(MATRIX)))
    assert matrix.shape == MATRIX.shape


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0, None]), "object array"),
        (np.array(["a", "b"]), "type 'U1'"),
        (np.array([1 + 2j]), "type 'c16'"),
        (np.zeros(2, dtype=[("a", "f4")]), "type 'V4'"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "type 'M8'"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_other_arrays(tmp_path, protocol, array, message):
    path = write_pickle(tmp_path / "usr_emb_np.pkl", array, protocol)
    with pytest.raises(DataFileError, match=rf"usr_emb_np\.pkl.*{message}"):
        safe_load(path)


@pytest.mark.parametrize("keep", [0, 1, 30, 200, -1])
def test_truncated(tmp_path, keep):
    path = write_pickle(tmp_path / "a.pkl", sp.coo_matrix(MATRIX))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataFileError, match=r"a\.pkl is truncated or not a pickle"):
        safe_load(path)


def test_every_truncation_and_flip_is_one_kind_of_error(tmp_path):
    r"""Damage gives an error of ours or a value that was checked, never anything else."""
    raw = pickle.dumps(sp.csr_matrix(MATRIX), 4)
    path = tmp_path / "a.pkl"
    for index in range(len(raw)):
        for damaged in (raw[:index], raw[:index] + bytes([raw[index] ^ 0x15]) + raw[index + 1 :]):
            path.write_bytes(damaged)
            with contextlib.suppress(DataFileError):
                safe_load(path)


def test_web_page_instead_of_a_file(tmp_path):
    (tmp_path / "a.pkl").write_text("<!DOCTYPE html><html>Too many users</html>")
    with pytest.raises(DataFileError, match="not a pickle"):
        safe_load(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("kind", "message"), [(sp.csr_matrix, "CSR .* row pointers"), (sp.csc_array, "CSC .* column")]
)
def test_false_pointers(tmp_path, kind, message):
    matrix = kind(MATRIX)
    matrix.indptr[1] = 99
    with pytest.raises(DataFileError, match=message):
        safe_load(write_pickle(tmp_path / "a.pkl", matrix))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", ["lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_other_sparse_formats_are_named(tmp_path, protocol, form, kind):
    raw = pickle.dumps(getattr(sp, f"{form}_{kind}")(MATRIX), protocol)
    path = tmp_path / "trn_mat.pkl"
    for content in (raw, _with_old_names(raw)):
        path.write_bytes(content)
        with pytest.raises(DataFileError) as caught:
            safe_load(path)
        assert str(caught.value) == (
            f"{path} cannot be read: it holds a sparse matrix in {form.upper()} format, and COO, "
            "CSR and CSC are read: save scipy.sparse.coo_matrix(it)."
        )
        assert not isinstance(caught.value, UnsafePickleError)


def test_shape_without_bytes(tmp_path):
    r"""A shape of petabytes is refused before anything is allocated."""
    raw = pickle.dumps(np.ones(3), 2)
    assert raw.count(b"K\x03\x85") == 1
    huge = b"\x8a\x06\xff\xff\xff\xff\xff\x7f\x85"
    (tmp_path / "a.pkl").write_bytes(raw.replace(b"K\x03\x85", huge))
    with pytest.raises(DataFileError, match="24 bytes where its shape"):
        safe_load(tmp_path / "a.pkl")


@pytest.mark.parametrize("name", ["amazon", "movie", "yelp"])
def test_published_matrices(name):
    r"""Equal to what SciPy itself makes of the files."""
    for split in ("trn", "val", "tst"):
        path = shared_path(f"data/{name}/{split}_mat.pkl")
        entries, oracle = safe_load(path), pickle.loads(path.read_bytes())
        assert np.array_equal(entries.row, oracle.row)
        assert np.array_equal(entries.col, oracle.col)
        assert entries.shape == oracle.shape
