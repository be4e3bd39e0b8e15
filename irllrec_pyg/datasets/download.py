r"""Getting the files of a data set that are not there.

Matrices come from the IRLLRec repository and are checked against known SHA-256. Texts and their
embeddings come from RLMRec's split archive or from IRLLRec's Google Drive file, whose hashes nobody
published: the hash seen first is kept in ``root/.downloads/sha256.json`` and checked afterwards.

The environment variables ``IRLLREC_MATRICES_URL``, ``IRLLREC_ARCHIVE_URL`` and
``IRLLREC_DRIVE_URL`` point to copies of the three sources.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import pooch

from ..files import atomic_path
from .archives import extract
from .formats import EMBEDDINGS, MATRICES, PROFILES
from .hashes import MATRICES_SHA256

MATRICES_URL = "https://raw.githubusercontent.com/wangyu0627/IRLLRec/main/data"
# The commit whose README tells to join these parts; later ones point to ARCHIVE_ZIP_URL instead.
_COMMIT = "02417959d5952b9836637683552642bd4bf9ef55"
ARCHIVE_URL = f"https://github.com/HKUDS/RLMRec/raw/{_COMMIT}/data"
ARCHIVE_ZIP_URL = "https://archive.org/download/rlmrec_data/data.zip"
ARCHIVE_PARTS = tuple(f"data.tar.gz{part:02d}" for part in range(10))
DRIVE_URL = "https://drive.google.com/uc?id=18gt8SNI2gpTJE5pshZ69Cy_EnqLrpY1X"

#: Data set -> what its folder is called inside the archives.
_IN_ARCHIVE = {"amazon": ("amazon",), "yelp": ("yelp",), "steam": ("steam",)}
_IN_DRIVE = {"amazon": ("amazon", "book"), "yelp": ("yelp",), "movie": ("movie",)}
_TIMEOUT = 30
Download = Callable[[str, Path], None]


class DownloadError(RuntimeError):
    r"""A file could not be fetched; the message says what was tried and what to do by hand."""


def where_to_get(name: str, field: str) -> str:
    r"""One sentence: where the embeddings ``field`` of a data set come from."""
    if name in _IN_DRIVE:
        return (
            f"Get the archive {DRIVE_URL} in a browser and take the folder "
            f"'{_IN_DRIVE[name][-1]}' out of it, or pass download_text=True (gigabytes; needs "
            "pip install 'irllrec_pyg[drive]')."
        )
    if name in _IN_ARCHIVE and field == "x":
        return (
            f"Get {ARCHIVE_ZIP_URL} and take the folder '{name}' out of it (it is the content of "
            "the parts data.tar.gz0* of https://github.com/HKUDS/RLMRec), or pass "
            "download_text=True (gigabytes)."
        )
    if name == "sample":
        return "They come with the package: install it again."
    return (
        "Nobody published them: embed your texts with any text encoder and pickle one float array "
        "with a row for each user and one with a row for each item."
    )


def fetch_matrices(name: str, raw_dir: str, root: str, download_text: bool = False) -> None:
    r"""Fetches the missing interaction matrices of a data set.

    Args:
        name (str): Name of the data set.
        raw_dir (str): Folder of its raw files.
        root (str): Folder of all data sets.
        download_text (bool, optional): Whether gigabytes may be fetched where there is no smaller
            source (steam). (default: ``False``)

    Raises:
        FileNotFoundError: Where there is no source; says what to put where.
        DownloadError: Where the source fails or gives another file.
    """
    if name in MATRICES_SHA256:
        base = os.environ.get("IRLLREC_MATRICES_URL", MATRICES_URL)
        for file in _absent(raw_dir, MATRICES):
            _fetch(f"{base}/{name}/{file}", Path(raw_dir, file), MATRICES_SHA256[name][file])
        return
    if download_text:
        fetch_text(name, raw_dir, root)
    absent = _absent(raw_dir, MATRICES)
    if absent:
        source = where_to_get(name, "x") if name in _IN_ARCHIVE else "It is not a published one."
        raise FileNotFoundError(
            f"Data set '{name}' lacks {', '.join(absent)} in {os.path.abspath(raw_dir)}. {source} "
            "(A pickled scipy matrix of users x items for each split; tables of your own are read "
            "by irllrec_pyg.datasets.from_interactions.)"
        )


def fetch_text(name: str, raw_dir: str, root: str) -> None:
    r"""Fetches the missing embeddings and texts of a published data set.

    A source that fails is a warning: the matrices suffice for models without text. The archives
    stay in ``root/.downloads`` for the other data sets that they hold; delete them at will.

    Args:
        name (str): Name of the data set.
        raw_dir (str): Folder of its raw files.
        root (str): Folder of all data sets.
    """
    cache = Path(root, ".downloads")
    in_drive = (*EMBEDDINGS["x"], *EMBEDDINGS["intent"])
    in_archive = (*MATRICES, *EMBEDDINGS["x"])
    for folders, files, fetch in (
        (_IN_DRIVE, in_drive, _fetch_drive),
        (_IN_ARCHIVE, in_archive, _fetch_archive),
    ):
        if name in folders and _absent(raw_dir, files):
            try:
                paths = fetch(cache)
                extract(paths, folders[name], _absent(raw_dir, (*files, *PROFILES)), raw_dir)
            except (DownloadError, ValueError) as error:
                warnings.warn(f"Data set '{name}', embeddings: {error}", stacklevel=2)


def copy_sample(raw_dir: str) -> None:
    r"""Copies the missing raw files of the sample set; needs no network."""
    for file in _sample_files():
        target = Path(raw_dir, file.name)
        if not target.exists():
            with atomic_path(target) as temporary:
                temporary.write_bytes(file.read_bytes())


def _sample_files() -> list[Traversable]:
    raw: Traversable
    try:
        raw = resources.files("irllrec_pyg.datasets.sample").joinpath("raw")
    except ModuleNotFoundError:  # a checkout that was not installed
        raw = Path(__file__).parents[2] / "datasets" / "sample" / "raw"
    return [file for file in raw.iterdir() if file.name.endswith(".pkl")] if raw.is_dir() else []


def _absent(raw_dir: str, files: Iterable[str]) -> list[str]:
    return [file for file in files if not Path(raw_dir, file).exists()]


def _fetch(url: str, target: Path, known: str | None, get: Download | None = None) -> str:
    r"""Fetches one file whole or not at all, and returns its SHA-256."""
    get = get or _get
    with atomic_path(target) as temporary:
        try:
            get(url, temporary)
        except OSError as error:  # the base class of requests' errors too
            raise DownloadError(
                f"{url} could not be fetched ({error}). Nothing of it was kept. Try again, or get "
                f"it in another way and put it to {target.absolute()}"
            ) from error
        found: str = pooch.file_hash(str(temporary))
        if known not in (None, found):
            raise DownloadError(
                f"{url} has the SHA-256 {found}, expected {known}. It was not kept. Try again; if "
                "it stays so, the file was changed at its source."
            )
    return found


def _get(url: str, target: Path) -> None:
    progress = sys.stderr.isatty()
    pooch.HTTPDownloader(progressbar=progress, timeout=_TIMEOUT)(url, str(target), None)


def _fetch_recorded(url: str, target: Path, get: Download | None = None) -> None:
    r"""As :func:`_fetch`, for files without a published hash: the first one seen is the one."""
    record = target.parent / "sha256.json"
    known: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    found = pooch.file_hash(str(target)) if target.exists() else None
    if found is None or known.get(url, found) != found:
        found = _fetch(url, target, known.get(url), get)
    if url not in known:
        with atomic_path(record) as temporary:
            temporary.write_text(json.dumps({**known, url: found}, indent=1) + "\n")


def _fetch_archive(cache: Path) -> list[Path]:
    base = os.environ.get("IRLLREC_ARCHIVE_URL", ARCHIVE_URL)
    paths = [cache / part for part in ARCHIVE_PARTS]
    for path in paths:  # parts that are there already are not fetched again
        _fetch_recorded(f"{base}/{path.name}", path)
    return paths


def _fetch_drive(cache: Path) -> list[Path]:
    path = cache / "irllrec_embeddings"
    url = os.environ.get("IRLLREC_DRIVE_URL", DRIVE_URL)
    _fetch_recorded(url, path, _get_drive)
    return [path]


def _get_drive(url: str, target: Path) -> None:
    try:
        import gdown
    except ModuleNotFoundError:
        raise DownloadError(
            f"{url} lies on Google Drive, which needs: pip install 'irllrec_pyg[drive]'"
        ) from None
    try:
        result = gdown.download(url=url, output=str(target), quiet=not sys.stderr.isatty())
    except Exception as error:  # gdown's own errors share no base class with requests' errors
        raise OSError(str(error)) from error
    if result is None:
        raise OSError("gdown gives no reason")
