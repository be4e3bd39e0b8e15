r"""Where the rows of a table stand in its file."""

import gzip

import pandas as pd
import pytest

from irllrec_pyg.datasets import DataFileError
from irllrec_pyg.datasets.tables import read_table

# Text, and the line at which an editor shows each row that has a value in its last column.
FILES = {
    "plain": ("a,b\n1,x\n2,y\n", [2, 3]),
    "no break at the end": ("a,b\n1,x\n2,y", [2, 3]),
    "Windows": ("a,b\r\n1,x\r\n\r\n2,y\r\n", [2, 4]),
    "an old Mac": ("a,b\r1,x\r2,y\r", [2, 3]),
    "cells of several lines": ('a,b\n1,"x\ny, ""z""\n\nw"\n2,y\n"3\n",z\n', [2, 6, 7]),
    "a head of several lines": ('a,"\nb"\n1,x\n', [3]),
    "lines of blanks": ("\n \na,b\n\n1,x\n  \n,\n2,y\n", [5, 7, 8]),
    "one column": ("a\n\nx\n \ny\n", [3, 5]),
}


@pytest.mark.parametrize(("text", "expected"), FILES.values(), ids=FILES)
@pytest.mark.parametrize("end", [".csv", ".csv.gz"])
def test_rows_know_the_line_of_the_file(tmp_path, text, expected, end):
    raw = b"\xef\xbb\xbf" + text.encode()
    path = tmp_path / f"t{end}"
    path.write_bytes(gzip.compress(raw) if end.endswith("gz") else raw)
    table = read_table(path)
    assert (table.index.name, table.index.tolist()) == ("line", expected)


def test_what_cannot_be_counted_in_lines_is_counted_in_rows(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("a,b\n\n1," + "x" * 200_000 + "\n,y\n")  # more than the csv module takes
    with pytest.raises(DataFileError, match=r"long\.csv, row 2: column 'a' is empty"):
        read_table(path, ["a"])
    pytest.importorskip("pyarrow")
    pd.DataFrame({"a": ["1", ""]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataFileError, match=r"t\.parquet, row 2: column 'a' is empty"):
        read_table(tmp_path / "t.parquet", ["a"])


def test_a_row_that_is_too_long_is_named_by_its_line(tmp_path):
    (tmp_path / "t.csv").write_text('a,b\n1,"x\ny"\n\n2,y,z\n')
    with pytest.raises(DataFileError, match=r"line 5 has 3 values, and the first line 2"):
        read_table(tmp_path / "t.csv")


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("user, user,item\na,b,c\n")
    with pytest.raises(DataFileError, match="has two columns 'user'"):
        read_table(tmp_path / "t.csv", ["user"])
