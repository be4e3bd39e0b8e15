r"""Downloads, against a server on this machine."""

import io
import shutil
import sys
import tarfile
import threading
import types
import zipfile
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from irllrec_pyg.datasets import IRLLRecDataset, download, irllrec_dataset
from irllrec_pyg.datasets.archives import extract
from irllrec_pyg.datasets.download import DownloadError, fetch_matrices, fetch_text
from irllrec_pyg.datasets.formats import EMBEDDINGS, MATRICES
from tests.conftest import NUM_USERS, write_published_folder

TEXT_FILES = [file for pair in EMBEDDINGS.values() for file in pair]


@contextmanager
def _serve(folder: Path, dies_at: str = "", deaths: int = 99):
    r"""Serves a folder; breaks the connection in the middle of the file :obj:`dies_at`."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def do_GET(self):
            requested.append(self.path)
            if dies_at and self.path.endswith(dies_at) and len(requested) <= deaths:
                body = Path(self.translate_path(self.path)).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.connection.close()
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    requested: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requested
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    r"""Between two tries pooch waits for seconds."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)


@pytest.fixture
def published(tmp_path, monkeypatch):
    r"""A copy of the three sources: the matrices of `movie`, the split archive, the Drive file."""
    site = tmp_path / "site"
    raw = write_published_folder(site / "movie")
    hashes = {file: pooch.file_hash(str(raw / file)) for file in MATRICES}
    monkeypatch.setitem(download.MATRICES_SHA256, "movie", hashes)
    monkeypatch.setattr(download, "ARCHIVE_PARTS", ("data.tar.gz00", "data.tar.gz01"))
    monkeypatch.setattr(irllrec_dataset, "_warned", set())

    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        for name in ("amazon", "steam"):
            folder = write_published_folder(tmp_path / "rlmrec" / name, seed=len(name))
            (folder / "usr_prf.pkl").write_bytes(b"\x80\x04}.")
            for file in sorted(folder.iterdir()):
                archive.add(file, f"data/{name}/{file.name}")
        archive.add(raw / "trn_mat.pkl", "../../steam/../trn_mat.pkl")
        link = tarfile.TarInfo("steam/val_mat.pkl")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    whole = tar.getvalue()
    (site / "data.tar.gz00").write_bytes(whole[: len(whole) // 2])
    (site / "data.tar.gz01").write_bytes(whole[len(whole) // 2 :])

    with zipfile.ZipFile(site / "drive", "w") as archive:
        for file in TEXT_FILES:
            archive.write(raw / file, f"any/movie/{file}")
    return site


def _use(monkeypatch, url):
    monkeypatch.setenv("IRLLREC_MATRICES_URL", url)
    monkeypatch.setenv("IRLLREC_ARCHIVE_URL", url)
    monkeypatch.setenv("IRLLREC_DRIVE_URL", f"{url}/drive")


def _plain_gdown(monkeypatch):
    r"""A stand-in for gdown that fetches from any address."""
    module = types.ModuleType("gdown")

    def fetch(url, output, quiet):
        pooch.HTTPDownloader()(url, output, None)
        return output

    module.download = fetch
    monkeypatch.setitem(sys.modules, "gdown", module)


def test_fetches_what_is_missing_and_only_once(published, tmp_path, monkeypatch):
    with _serve(published) as (url, requested):
        _use(monkeypatch, url)
        with pytest.warns(UserWarning, match="no 'x' embeddings"):
            dataset = IRLLRecDataset(tmp_path / "root", "movie")
        assert dataset.num_users == NUM_USERS
        assert sorted(requested) == sorted(f"/movie/{file}" for file in MATRICES)
        requested.clear()
        (tmp_path / "root" / "movie" / "raw" / "val_mat.pkl").unlink()
        IRLLRecDataset(tmp_path / "root", "movie")
        assert requested == ["/movie/val_mat.pkl"]
        requested.clear()
        IRLLRecDataset(tmp_path / "root", "movie")
        assert requested == []


def test_wrong_hash_keeps_nothing(published, tmp_path, monkeypatch):
    (published / "movie" / "val_mat.pkl").write_bytes(b"something else")
    with _serve(published) as (url, _):
        _use(monkeypatch, url)
        with pytest.raises(DownloadError, match=r"val_mat\.pkl .*SHA256 .* expected"):
            fetch_matrices("movie", str(tmp_path / "raw"), str(tmp_path))
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["trn_mat.pkl"]


def test_server_that_dies_midway(published, tmp_path, monkeypatch):
    raw = tmp_path / "raw"
    with _serve(published, dies_at="tst_mat.pkl") as (url, _):
        _use(monkeypatch, url)
        with pytest.raises(DownloadError, match=r"tst_mat\.pkl could not be fetched"):
            fetch_matrices("movie", str(raw), str(tmp_path))
    assert sorted(path.name for path in raw.iterdir()) == ["trn_mat.pkl", "val_mat.pkl"]
    with _serve(published) as (url, requested):  # goes on with what is missing
        _use(monkeypatch, url)
        fetch_matrices("movie", str(raw), str(tmp_path))
        assert requested == ["/movie/tst_mat.pkl"]
    assert (raw / "tst_mat.pkl").read_bytes() == (published / "movie/tst_mat.pkl").read_bytes()


def test_a_connection_that_breaks_once_is_tried_again(published, tmp_path, monkeypatch):
    with _serve(published, dies_at="trn_mat.pkl", deaths=1) as (url, requested):
        _use(monkeypatch, url)
        fetch_matrices("movie", str(tmp_path / "raw"), str(tmp_path))
        assert requested.count("/movie/trn_mat.pkl") == 2
    for file in MATRICES:
        assert (tmp_path / "raw" / file).read_bytes() == (published / "movie" / file).read_bytes()


def test_no_server(tmp_path, monkeypatch):
    with _serve(tmp_path) as (url, _):
        pass
    _use(monkeypatch, url)
    with pytest.raises(DownloadError, match=r"put it to .*raw.trn_mat\.pkl"):
        fetch_matrices("movie", str(tmp_path / "raw"), str(tmp_path))


def test_file_that_the_server_lacks(published, tmp_path, monkeypatch):
    with _serve(tmp_path / "site" / "movie") as (url, _):
        _use(monkeypatch, url)
        with pytest.raises(DownloadError, match="404"):
            fetch_matrices("movie", str(tmp_path / "raw"), str(tmp_path))


def test_drive_file(published, tmp_path, monkeypatch):
    _plain_gdown(monkeypatch)
    with _serve(published) as (url, requested):
        _use(monkeypatch, url)
        dataset = IRLLRecDataset(tmp_path / "root", "movie", download_text=True)
        assert "missing" not in dataset[0]
        assert requested.count("/drive") == 1
        requested.clear()
        IRLLRecDataset(tmp_path / "root", "movie", download_text=True)
        assert requested == []


@pytest.mark.filterwarnings("ignore:Data set 'movie' has:UserWarning")
def test_drive_file_without_gdown(published, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    with _serve(published) as (url, _):
        _use(monkeypatch, url)
        with pytest.warns(UserWarning, match=r"pip install 'irllrec_pyg\[drive\]'"):
            dataset = IRLLRecDataset(tmp_path / "root", "movie", download_text=True)
    assert set(dataset[0].missing) == {"x", "intent"}


@pytest.mark.filterwarnings("ignore:Data set 'movie' has:UserWarning")
def test_drive_file_that_is_no_archive(published, tmp_path, monkeypatch):
    _plain_gdown(monkeypatch)
    (published / "drive").write_text("<html>Too many users have viewed this file</html>")
    with _serve(published) as (url, _):
        _use(monkeypatch, url)
        with pytest.warns(UserWarning, match="not a tar or zip archive"):
            dataset = IRLLRecDataset(tmp_path / "root", "movie", download_text=True)
    assert dataset.num_users == NUM_USERS


@pytest.mark.filterwarnings("ignore:Data set 'steam' has:UserWarning")
def test_split_archive(published, tmp_path, monkeypatch):
    with _serve(published) as (url, requested):
        _use(monkeypatch, url)
        with pytest.raises(FileNotFoundError, match=r"steam.*data\.tar\.gz0.*download_text=True"):
            IRLLRecDataset(tmp_path / "root", "steam")
        assert requested == []
        dataset = IRLLRecDataset(tmp_path / "root", "steam", download_text=True)
        assert sorted(requested) == ["/data.tar.gz00", "/data.tar.gz01"]
    assert list(dataset[0].missing) == ["intent"]
    raw, source = tmp_path / "root" / "steam" / "raw", tmp_path / "rlmrec" / "steam"
    assert sorted(path.name for path in raw.iterdir()) == sorted(
        [*MATRICES, *EMBEDDINGS["x"], "usr_prf.pkl"]
    )
    for path in raw.iterdir():
        assert path.read_bytes() == (source / path.name).read_bytes()
        assert not path.is_symlink()
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == [".downloads", "steam"]


def test_archive_goes_on_and_keeps_its_first_hash(published, tmp_path, monkeypatch):
    root = tmp_path / "root"
    raw = str(root / "steam" / "raw")
    with _serve(published, dies_at="gz01") as (url, _):
        _use(monkeypatch, url)
        with pytest.warns(UserWarning, match="gz01 could not be fetched"):
            fetch_text("steam", raw, str(root))
        assert not Path(raw).exists()
    with _serve(published) as (url, requested):
        for source in ("IRLLREC_ARCHIVE_URL",):
            monkeypatch.setenv(source, url)
        fetch_text("steam", raw, str(root))
        assert requested == ["/data.tar.gz01"]
        shutil.rmtree(raw)
        fetch_text("steam", raw, str(root))
        assert requested == ["/data.tar.gz01"]  # the archive is still there

        shutil.rmtree(raw)
        (root / ".downloads" / "data.tar.gz01").unlink()
        (published / "data.tar.gz01").write_bytes(b"changed at its source")
        with pytest.warns(UserWarning, match="SHA256 .* expected"):
            fetch_text("steam", raw, str(root))
        assert not (root / ".downloads" / "data.tar.gz01").exists()


def test_amazon_takes_its_profiles_from_the_archive_without_gdown(published, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdown", None)
    raw = tmp_path / "root" / "amazon" / "raw"
    raw.mkdir(parents=True)
    for file in MATRICES:
        shutil.copy(published / "movie" / file, raw)
    before = {file: (raw / file).read_bytes() for file in MATRICES}
    with _serve(published) as (url, _):
        _use(monkeypatch, url)
        with pytest.warns(UserWarning, match="gdown|drive"):
            fetch_text("amazon", str(raw), str(tmp_path / "root"))
    assert all((raw / file).exists() for file in EMBEDDINGS["x"])
    assert {file: (raw / file).read_bytes() for file in MATRICES} == before


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "zip"])
def test_extract_every_kind(tmp_path, mode):
    (tmp_path / "a").write_bytes(b"text")
    path = tmp_path / "archive"
    if mode == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "a", "x/yelp/a.pkl")
            archive.write(tmp_path / "a", "x/other/b.pkl")
    else:
        with tarfile.open(path, mode) as archive:
            archive.add(tmp_path / "a", "x/yelp/a.pkl")
            archive.add(tmp_path / "a", "x/other/b.pkl")
    extract([path], ["yelp"], ["a.pkl", "b.pkl"], str(tmp_path / "out"))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.pkl"]
    assert (tmp_path / "out" / "a.pkl").read_bytes() == b"text"


def test_truncated_archive(tmp_path, published):
    with pytest.raises(ValueError, match="damaged or not a tar or zip"):
        extract([published / "data.tar.gz00"], ["steam"], list(MATRICES), str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob(".*")) if (tmp_path / "out").exists() else True
