"""Pieces of a study as files."""

import pandas as pd
import pytest

from irllrec_pyg.config import ConfigError
from irllrec_pyg.study.units import Units


def test_a_unit_is_there_when_it_is_whole(tmp_path, monkeypatch):
    units = Units(tmp_path)
    assert units.read("a/b") is None
    table = pd.DataFrame({"user": ["x", "y"], "recall@20": [0.5, 1.0]})
    units.write("a/b", {"value": 1}, table)
    assert units.read("a/b") == {"value": 1}
    pd.testing.assert_frame_equal(units.users("a/b"), table)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("irllrec_pyg.study.units.write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        units.write("a/c", {"value": 2}, table)
    assert units.read("a/c") is None
    assert units.named("a/*") == ["a/b"]


def test_one_process_at_a_time_is_at_a_unit(tmp_path):
    with Units(tmp_path).alone("a/b") as first, Units(tmp_path).alone("a/b") as second:
        assert (first, second) == (True, False)
    with Units(tmp_path).alone("a/b") as third:
        assert third


def test_scratch_stays_after_a_kill_and_goes_after_success(tmp_path):
    def killed():
        with units.scratch("a/b") as folder:
            folder.mkdir(parents=True)
            raise KeyboardInterrupt

    units = Units(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        killed()
    with units.scratch("a/b") as folder:
        assert folder.is_dir()
    assert not folder.exists()


@pytest.mark.parametrize("end", ["json", "parquet"])
def test_a_byte_that_is_flipped_is_noticed(tmp_path, end):
    units = Units(tmp_path)
    units.write("a/b", {"value": 1.25}, pd.DataFrame({"user": ["x"], "recall@20": [0.5]}))
    file = tmp_path / "units" / "a" / f"b.{end}"
    content = bytearray(file.read_bytes())
    at = content.index(b"1.25") if end == "json" else len(content) // 2
    content[at] ^= 1
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"b\.{end} is damaged \(its hash is another\)"):
        units.read("a/b")


def test_units_without_hashes_are_read(tmp_path):
    units = Units(tmp_path)
    file = tmp_path / "units" / "a.json"
    file.parent.mkdir()
    file.write_text('{"value": 1}')
    assert units.read("a") == {"value": 1}


def test_damaged_files_are_named(tmp_path):
    units = Units(tmp_path)
    units.write("a/b", {"value": 1}, pd.DataFrame({"user": ["x"]}))
    file = tmp_path / "units" / "a" / "b.json"
    for content in ('{"value": ', "[]"):
        file.write_text(content)
        with pytest.raises(ConfigError, match=r"b\.json is damaged .*makes this piece again"):
            units.read("a/b")
    table = file.with_suffix(".parquet")
    table.write_bytes(table.read_bytes()[:20])
    with pytest.raises(ConfigError, match=r"b\.parquet is damaged .*makes this piece again"):
        units.users("a/b")
    table.unlink()
    with pytest.raises(ConfigError, match=r"b\.parquet is damaged \(it is gone\)"):
        units.users("a/b")
