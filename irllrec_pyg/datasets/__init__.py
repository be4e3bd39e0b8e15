r"""Data sets: the published ones, your own tables, and the synthetic sample."""

from .download import fetch_sources
from .formats import read_profiles
from .interactions import from_interactions
from .irllrec_dataset import IRLLRecDataset
from .movielens import MovieLensText
from .placebo import NoiseTexts, PermuteTexts, RandomInteractions
from .safe_pickle import DataFileError, UnsafePickleError
from .table import TableDataset
from .writing import write_published

__all__ = [
    "DataFileError",
    "IRLLRecDataset",
    "MovieLensText",
    "NoiseTexts",
    "PermuteTexts",
    "RandomInteractions",
    "TableDataset",
    "UnsafePickleError",
    "cards",
    "fetch_sources",
    "from_interactions",
    "read_profiles",
    "write_published",
]
