r"""Files are whole or not there, also when the process is killed while it writes."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from irllrec_pyg import files
from irllrec_pyg.files import atomic_path, reserve


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


FULL = """
import json, resource, sys
import torch
from safetensors.torch import save_file
from irllrec_pyg.files import atomic_path
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as a full disk: no file grows further
content = torch.zeros(100_000)
said = []
for target, how in json.load(sys.stdin):
    try:
        with atomic_path(target) as temporary, open(temporary, "wb") as file:
            if how == "bytes":
                file.write(bytes(100_000))
            elif how == "torch":
                torch.save(content, file)
            else:
                save_file({"a": content}, temporary)
    except OSError as error:
        said.append((error.errno, str(error)))
print(json.dumps(said))
"""


def test_a_disk_that_takes_no_more(tmp_path):
    jobs = [
        (str(tmp_path / f"{new}-{how}.pt"), how)
        for new in ("new", "old")
        for how in ("bytes", "torch", "safetensors")
    ]
    for target, _ in jobs[3:]:
        Path(target).write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", FULL],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert len(said) == len(jobs)
    for (target, _), (number, text) in zip(jobs, said, strict=True):
        assert number == errno.EFBIG
        old = Path(target).name.startswith("old")
        assert ("its old content is kept" if old else "nothing of it was written") in text
        assert "write to another disk" in text
        assert text.endswith(f"{target!r}")
        assert not old or Path(target).read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == sorted(Path(target).name for target, _ in jobs[3:])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "Free some space there"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "Free some space"),
        (PermissionError(errno.EACCES, "Permission denied"), "a folder that is yours"),
        (OSError(errno.EROFS, "Read-only file system"), "a disk that is not read-only"),
    ],
)
def test_errors_name_the_file_and_the_mend(tmp_path, error, words):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with (
        pytest.raises(OSError, match=f"its old content is kept.*{words}.*a.txt") as caught,
        atomic_path(target),
    ):
        raise error
    assert caught.value.filename == str(target)
    assert isinstance(caught.value, type(error)) or type(error) is RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_read_only_folder_is_named(tmp_path, monkeypatch):
    def refuse(prefix, suffix, dir):
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/{prefix}x{suffix}")

    monkeypatch.setattr(files, "mkstemp", refuse)
    with (
        pytest.raises(PermissionError, match=r"nothing of it was written.*yours.*a\.txt"),
        atomic_path(tmp_path / "a.txt"),
    ):
        pass


def test_errors_about_other_files_stay_as_they_are(tmp_path):
    error = PermissionError(errno.EACCES, "Permission denied", "/elsewhere")
    with pytest.raises(PermissionError) as caught, atomic_path(tmp_path / "a.txt"):
        raise error
    assert caught.value is error


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system has no such call")
def test_room_for_a_mapped_file_is_taken_at_once(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a.npy"
    path.touch()
    os.truncate(path, 1 << 16)
    reserve(path)
    assert path.stat().st_blocks * 512 >= 1 << 16
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="The disk is full") as raised, atomic_path(path) as temporary:
        reserve(temporary)
    assert raised.value.filename == str(path)
