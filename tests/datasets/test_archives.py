r"""Hostile archives are refused by a limit, before memory or disk is taken."""

import gzip
import io
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from irllrec_pyg.datasets.archives import extract

MEGABYTE = 1 << 20


def _header(name: str, size: int, kind: bytes, **more: object) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def _old_sparse(size: int) -> bytes:
    r"""A sparse member of the old GNU form: a few bytes that unpack to ``size`` zeros."""
    raw = bytearray(_header("x/yelp/a.pkl", 0, tarfile.GNUTYPE_SPARSE))
    raw[386:398], raw[398:410] = b"%011o\0" % 0, b"%011o\0" % 0
    raw[483:495] = b"\x80" + size.to_bytes(11, "big")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw) + bytes(1024)


def _pax(fields: str) -> bytes:
    body = fields.encode()
    padded = body + bytes(-len(body) % 512)
    return _header("pax", len(body), tarfile.XHDTYPE) + padded


def _sparse_record(key: str, value: object) -> str:
    text = f" {key}={value}\n"
    size = len(text) + 2
    return f"{size}{text}" if len(f"{size}{text}") == size else f"{size + 1}{text}"


SPARSE = "".join(
    _sparse_record(f"GNU.sparse.{key}", value)
    for key, value in (("major", 1), ("minor", 0), ("name", "x/yelp/a.pkl"), ("realsize", 2**40))
)
TARS = {
    "long name": _header("././@LongLink", 2**33, tarfile.GNUTYPE_LONGNAME) + bytes(64 * MEGABYTE),
    "long link": _header("././@LongLink", 2**33, tarfile.GNUTYPE_LONGLINK) + bytes(64 * MEGABYTE),
    "pax header": _header("pax", 2**33, tarfile.XHDTYPE) + bytes(64 * MEGABYTE),
    "global pax header": _header("pax", 2**33, tarfile.XGLTYPE) + bytes(64 * MEGABYTE),
    "sparse member": _old_sparse(2**40),
    "sparse member, pax": _pax(SPARSE)
    + _header("x/yelp/a.pkl", 512, tarfile.REGTYPE)
    + b"1\n0\n0\n".ljust(512, b"\0")
    + bytes(1024),
    "sparse map without end": _pax(SPARSE)
    + _header("x/yelp/a.pkl", 64 * MEGABYTE, tarfile.REGTYPE)
    + b"9999999999\n".ljust(512, b"0")
    + b"0\n" * (32 * MEGABYTE),
    "members without end": b"".join(
        _header(f"x/{number}", 0, tarfile.REGTYPE) for number in range(10_002)
    ),
    "a bomb": _header("x/yelp/a.pkl", 2**33, tarfile.REGTYPE) + bytes(128 * MEGABYTE),
}


@pytest.mark.parametrize("name", TARS)
def test_hostile_tar_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.tar.gz00"
    path.write_bytes(gzip.compress(TARS[name], 6))
    _refused(path, tmp_path / "out")


def test_bomb_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "drive"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/yelp/a.pkl", bytes(128 * MEGABYTE))
    _refused(path, tmp_path / "out")


def test_zip_with_too_many_members_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "drive"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"x/{number}", b"")
    _refused(path, tmp_path / "out")


def _refused(path: Path, out: Path) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"{path.name} was not unpacked: it"):
            extract([path], ["yelp"], ["a.pkl"], str(out))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 * MEGABYTE
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize("inside", ["/x/yelp/a.pkl", "../../yelp/a.pkl", "yelp/../yelp/a.pkl"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_path_inside_leads_nowhere_else(tmp_path: Path, inside: str, kind: str) -> None:
    path, out = tmp_path / "deep" / "archive", tmp_path / "deep" / "er" / "out"
    path.parent.mkdir()
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(inside, b"text")
    else:
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo(inside)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"text"))
    extract([path], ["yelp"], ["a.pkl"], str(out))
    assert sorted(file for file in tmp_path.rglob("*") if file.is_file()) == sorted(
        [path, out / "a.pkl"]
    )


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_left_out(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "archive"
    path.write_bytes(_header("x/yelp/a.pkl", 0, kind, linkname="/etc/passwd") + bytes(1024))
    extract([path], ["yelp"], ["a.pkl"], str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_large_member_that_does_not_shrink_is_unpacked(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(8 * MEGABYTE)
    path = tmp_path / "archive"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name in ("x/other/b.pkl", "x/yelp/a.pkl"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    extract([path], ["yelp"], ["a.pkl"], str(tmp_path / "out"))
    assert (tmp_path / "out" / "a.pkl").read_bytes() == content
