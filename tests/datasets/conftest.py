import pytest

from .shops import write


@pytest.fixture
def shop(tmp_path):
    r"""A folder that holds the folder ``shop`` of tables."""
    write(tmp_path / "shop")
    return tmp_path
