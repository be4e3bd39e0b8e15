r"""Getting the files of a data set that are not there."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from irllrec_pyg.datasets.files import atomic_path


def _sample_files() -> list[Traversable]:
    r"""The raw files of the sample set, from an installed package or from a checkout."""
    try:
        raw = resources.files("irllrec_pyg.datasets.sample").joinpath("raw")
    except ModuleNotFoundError:  # a checkout that was not installed
        raw = Path(__file__).parents[2] / "datasets" / "sample" / "raw"
    return [file for file in raw.iterdir() if file.name.endswith(".pkl")] if raw.is_dir() else []


def copy_sample(raw_dir: str) -> None:
    r"""Copies the missing raw files of the sample set; needs no network."""
    for file in _sample_files():
        target = Path(raw_dir, file.name)
        if not target.exists():
            with atomic_path(target) as temporary:
                temporary.write_bytes(file.read_bytes())


def where_to_get(name: str, field: str) -> str:
    return ""


def fetch_matrices(name: str, raw_dir: str, archive: bool = False) -> None:
    raise FileNotFoundError(name)


def fetch_text(name: str, raw_dir: str) -> None:
    pass
