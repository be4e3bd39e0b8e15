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
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

import pooch

from ..files import atomic_path, write_text
from .archives import extract
from .cards import cards
from .formats import EMBEDDINGS, MATRICES, PROFILES

MATRICES_URL = "https://raw.githubusercontent.com/wangyu0627/IRLLRec/main/data"
# The commit whose README tells to join these parts; later ones point to ARCHIVE_ZIP_URL instead.
_COMMIT = "02417959d5952b9836637683552642bd4bf9ef55"
ARCHIVE_URL = f"https://github.com/HKUDS/RLMRec/raw/{_COMMIT}/data"
ARCHIVE_ZIP_URL = "https://archive.org/download/rlmrec_data/data.zip"
ARCHIVE_PARTS = tuple(f"data.tar.gz{part:02d}" for part in range(10))
DRIVE_URL = "https://drive.google.com/uc?id=18gt8SNI2gpTJE5pshZ69Cy_EnqLrpY1X"

#: Data set -> SHA-256 of its matrices, by file.
MATRICES_SHA256: dict[str, dict[str, str]] = {
    name: {file.name: str(file.sha256) for file in card.files}
    for name, card in cards().items()
    if card.files[0].name == MATRICES[0]
}
#: Data set -> what its folder is called inside the archives.
_IN_ARCHIVE = {"amazon": ("amazon",), "yelp": ("yelp",), "steam": ("steam",)}
_IN_DRIVE = {"amazon": ("amazon", "book"), "yelp": ("yelp",), "movie": ("movie",)}
_RETRIES, _TIMEOUT = 2, 30


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
        urls = {file: f"{base}/{name}/{file}" for file in _absent(raw_dir, MATRICES)}
        retrieve(urls, Path(raw_dir), MATRICES_SHA256[name])
        return
    if download_text:
        fetch_text(name, raw_dir, root)
    absent = _absent(raw_dir, MATRICES)
    if absent:
        source = "It is not a published one."
        if name in _IN_ARCHIVE:
            source = where_to_get(name, "x")
        elif name in cards():
            source = f"It is made of tables, interactions.csv first. {cards()[name].describe()}"
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
    try:
        raw: Traversable = resources.files("irllrec_pyg.datasets.sample").joinpath("raw")
    except ModuleNotFoundError:  # a checkout that was not installed
        raw = Path(__file__).parents[2] / "datasets" / "sample" / "raw"
    for file in raw.iterdir() if raw.is_dir() else ():
        if file.name.endswith(".pkl") and _absent(raw_dir, [file.name]):
            with atomic_path(Path(raw_dir, file.name)) as temporary:
                temporary.write_bytes(file.read_bytes())


def _absent(raw_dir: str, files: Iterable[str]) -> list[str]:
    return [file for file in files if not Path(raw_dir, file).exists()]


def retrieve(
    urls: Mapping[str, str],
    folder: Path,
    known: Mapping[str, str] = MappingProxyType({}),
    get: Callable[[str, str, object], None] | None = None,
) -> list[Path]:
    r"""Fetches those of some files that are missing, each whole or not at all.

    Args:
        urls (mapping): Where each file comes from, by its name.
        folder (Path): Where the files go.
        known (mapping, optional): Their SHA-256, or another hash as pooch writes it, by name.
            Where it is not known, the one seen first is kept in ``sha256.json`` beside the files
            and holds from then on. (default: ``None``)
        get (callable, optional): Downloader of pooch. (default: by HTTP)

    Raises:
        DownloadError: Where a file cannot be fetched or is another one.
    """
    record = folder / "sha256.json"
    seen: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    hashes = {name: known.get(name, seen.get(url)) for name, url in urls.items()}
    source = pooch.create(folder, "", urls=dict(urls), registry=hashes, retry_if_failed=_RETRIES)
    get = get or pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=_TIMEOUT)
    for name, url in urls.items():
        try:
            source.fetch(name, downloader=get)
        except (OSError, ValueError) as error:  # the base classes of requests' and pooch's errors
            raise DownloadError(
                f"{url} could not be fetched ({error}). Nothing of it was kept. Try again, or get "
                f"it in another way and put it to {(folder / name).absolute()}"
            ) from error
        if hashes[name] is None:
            seen[url] = pooch.file_hash(str(folder / name))
            write_text(record, json.dumps(seen, indent=1) + "\n")
    return [folder / name for name in urls]


def fetch_sources(name: str, folder: str | os.PathLike[str]) -> list[Path]:
    r"""Fetches the files of a data set that may be fetched, as they are.

    They are the sources, no tables: :meth:`Card.describe` says what is in each and names those that
    nobody may pass on; the folder of tables that :class:`TableDataset` reads is made by hand.

    Args:
        name (str): Name of the data set.
        folder (str or os.PathLike): Where they go. What is there is not fetched again, and must be
            what the card's hash says, or what was fetched first.

    Returns:
        The paths of the files.

    Raises:
        KeyError: If there is no such card.
        DownloadError: Where a file cannot be fetched or is another one.
    """
    files = [file for file in cards()[name].files if file.url]
    known = {file.name: file.sha256 for file in files if file.sha256}
    return retrieve({file.name: str(file.url) for file in files}, Path(folder), known)


def _fetch_archive(cache: Path) -> list[Path]:
    base = os.environ.get("IRLLREC_ARCHIVE_URL", ARCHIVE_URL)
    return retrieve({part: f"{base}/{part}" for part in ARCHIVE_PARTS}, cache)


def _fetch_drive(cache: Path) -> list[Path]:
    url = os.environ.get("IRLLREC_DRIVE_URL", DRIVE_URL)
    return retrieve({"irllrec_embeddings": url}, cache, get=_get_drive)


def _get_drive(url: str, target: str, _: object) -> None:
    try:
        import gdown
    except ModuleNotFoundError:
        raise DownloadError(
            f"{url} lies on Google Drive, which needs: pip install 'irllrec_pyg[drive]'"
        ) from None
    try:
        result = gdown.download(url=url, output=target, quiet=not sys.stderr.isatty())
    except Exception as error:  # gdown's own errors share no base class with requests' errors
        raise OSError(str(error)) from error
    if result is None:
        raise OSError("gdown gives no reason")
