r"""Data sets: the published ones, your own tables, and the synthetic sample."""

from .formats import read_profiles
from .interactions import from_interactions
from .irllrec_dataset import IRLLRecDataset
from .movielens import MovieLensText
from .safe_pickle import DataFileError, UnsafePickleError
from .table import TableDataset
from .writing import write_published

__all__ = [
    "DataFileError",
    "IRLLRecDataset",
    "MovieLensText",
    "TableDataset",
    "UnsafePickleError",
    "from_interactions",
    "read_profiles",
    "write_published",
]
