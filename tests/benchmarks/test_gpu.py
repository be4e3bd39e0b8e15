"""What is for a GPU says so where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import speed

SCRIPT = Path(speed.__file__).with_name("gpu.sh")


def run(folder, python):
    return subprocess.run(
        ["bash", str(SCRIPT), str(folder)],
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="There is a GPU.")
def test_the_script_says_that_there_is_no_gpu(tmp_path):
    done = run(tmp_path / "out", sys.executable)
    assert done.returncode == 2
    assert "There is no GPU with CUDA here" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_the_script_names_what_is_missing(tmp_path):
    # An interpreter that finds nothing but its own library.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec "{sys.executable}" -I -S "$@"\n')
    python.chmod(0o755)
    done = run(tmp_path / "out", python)
    assert done.returncode == 2
    assert "lacks torch, torch_geometric" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tf32"], "add --device cuda"),
        (["--tf32", "--device", "cuda", "--scale"], "with --model"),
    ],
)
def test_tf32_is_for_models_on_gpus(words, message, capsys):
    with pytest.raises(SystemExit):
        speed.parse(words)
    assert message in capsys.readouterr().err
