"""What is for a GPU says so where there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import speed

SCRIPT = Path(speed.__file__).with_name("gpu.sh")


# Modules and an interpreter that stand for a machine with a GPU.
STUBS = {
    "torch.py": """
from types import SimpleNamespace
__version__, version = "2.11.0", SimpleNamespace(cuda="13.0")
cuda = SimpleNamespace(
    is_available=lambda: True,
    get_device_name=lambda: "a GPU",
    get_device_capability=lambda: (9, 0),
    get_device_properties=lambda index: SimpleNamespace(total_memory=2**37),
)
""",
    "torch_geometric.py": "__version__ = '2.8.0'",
    "python": """#!/bin/sh
case "$*" in
    -\\ *) exec "$REAL" "$@" ;;
    -m\\ pytest*) cp "$FAKES/tests.xml" "$OUT/tests.xml" ; exit "$STATUS" ;;
    *) mkdir -p "$OUT/speed"; cp "$FAKES/speed.json" "$OUT/speed/speed-cuda.json" ;;
esac
""",
    "tests.xml": """<testsuites><testsuite tests="4" failures="1" errors="1" skipped="1">
<testcase name="good"><properties><property name="launches" value="7"/></properties></testcase>
<testcase name="wrong"><failure/></testcase><testcase name="broken"><error/></testcase>
<testcase name="left out"><skipped/></testcase></testsuite></testsuites>""",
    "speed.json": json.dumps(
        [
            {
                "model": "sgl",
                "precision": "tf32",
                "dataset": "sample",
                "ours": {"epoch": 1.0},
                "plain": {"epoch": 2.0},
            }
        ]
    ),
}


def run(folder, python, **env):
    return subprocess.run(
        ["bash", str(SCRIPT), str(folder)],
        env={**os.environ, "PYTHON": str(python), **env},
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
    assert "-m pip install torch torch-geometric numpy" in done.stderr
    assert " PyYAML " in done.stderr


@pytest.fixture
def on_a_gpu(tmp_path):
    for name, text in STUBS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "python").chmod(0o755)

    def start(status):
        env = {"REAL": sys.executable, "FAKES": str(tmp_path), "OUT": str(tmp_path / "out")}
        env |= {"PYTHONPATH": str(tmp_path), "STATUS": str(status)}
        return run(tmp_path / "out", tmp_path / "python", **env)

    return start


@pytest.mark.parametrize("status", [0, 1])
def test_the_script_sums_up_what_was_found(status, on_a_gpu, tmp_path):
    done = on_a_gpu(status)
    assert done.returncode == status, done.stderr
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert found["machine"]["device"] == "a GPU"
    assert found["machine"]["memory_gb"] == 128
    assert found["tests"] == {"tests": 4, "failures": 1, "errors": 1, "skipped": 1}
    assert found["failed"] == ["wrong", "broken"]
    assert found["launches"] == {"good": 7}
    assert found["speed"] == [
        {"model": "sgl", "precision": "tf32", "dataset": "sample", "ours": 1.0, "plain": 2.0}
    ]


def test_the_script_takes_nothing_from_an_earlier_run(on_a_gpu, tmp_path):
    on_a_gpu(0)
    (tmp_path / "tests.xml").unlink()  # this time pytest writes nothing
    (tmp_path / "speed.json").unlink()
    assert on_a_gpu(1).returncode == 1
    assert json.loads((tmp_path / "out" / "summary.json").read_text()).keys() == {"machine"}


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
