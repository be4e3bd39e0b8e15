r"""Data sets: the published ones, your own tables, and the synthetic sample."""

from irllrec_pyg.datasets.formats import read_profiles
from irllrec_pyg.datasets.interactions import from_interactions
from irllrec_pyg.datasets.irllrec_dataset import IRLLRecDataset
from irllrec_pyg.datasets.movielens import MovieLensText
from irllrec_pyg.datasets.safe_pickle import DataFileError, UnsafePickleError

__all__ = [
    "DataFileError",
    "IRLLRecDataset",
    "MovieLensText",
    "UnsafePickleError",
    "from_interactions",
    "read_profiles",
]
