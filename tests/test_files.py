r"""Files are whole or not there, also when the process is killed while it writes."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from irllrec_pyg.files import atomic_path


def test_writes_and_replaces(tmp_path):
    target = tmp_path / "new" / "a.txt"
    for text in ("one", "two"):
        with atomic_path(target) as temporary:
            temporary.write_text(text)
        assert target.read_text() == text
    assert os.listdir(target.parent) == ["a.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask


def test_error_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic_path(target) as temporary:
        temporary.write_text("half" * 10000 + "\ud800", encoding="utf-8")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_kill_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    script = (
        "import sys, time\n"
        "from irllrec_pyg.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, target], stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"writing"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert target.read_text() == "old"
    (left,) = tmp_path.glob(".*.part")
    with atomic_path(target) as temporary:
        temporary.write_text("new")
    assert left.exists()  # another process might still be writing it
    os.utime(left, (0, time.time() - 48 * 3600))
    with atomic_path(target) as temporary:
        temporary.write_text("newer")
    assert os.listdir(tmp_path) == ["a.txt"]
