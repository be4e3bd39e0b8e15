import pytest

from irllrec_pyg.datasets import IRLLRecDataset


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory):
    """Where the processed sample set is kept for the whole run of the suite."""
    return tmp_path_factory.mktemp("sample")


@pytest.fixture
def sample(sample_root):
    """The sample set: 600 users, 360 items."""
    return IRLLRecDataset(sample_root, name="sample")[0]
