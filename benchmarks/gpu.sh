#!/usr/bin/env bash
# Everything that needs a GPU, in less than ten minutes: the tests marked 'cuda', then speed.py in
# float32, TF32 and bfloat16. Results go to OUT (default: gpu-results): summary.json with the name of
# the device, tests.xml, the tables of speed.py, and a log of each.
#
#   bash benchmarks/gpu.sh [OUT]
#
# PYTHON names the interpreter (default: python3). It needs the package's dependencies, pytest and
# pytest-timeout; what it lacks is named, nothing is downloaded here. Pictures need matplotlib too.
# DATASET and ROOT name a data set to measure with and its folder (default: the sample set).
set -euo pipefail
out=$(mkdir -p "${1:-gpu-results}" && cd "${1:-gpu-results}" && pwd)
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
dataset=${DATASET:-sample}
root=${ROOT:-$out/data}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}

"$python" - "$out" <<'PYTHON' || exit 2
import importlib.util, json, pathlib, platform, sys

modules = """torch torch_geometric numpy scipy pandas pytorch_lightning torchmetrics safetensors yaml
    filelock pooch tqdm pydantic pytest pytest_timeout""".split()
if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
    projects = " ".join("PyYAML" if name == "yaml" else name.replace("_", "-") for name in missing)
    sys.exit(
        f"{sys.executable} lacks {', '.join(missing)}: run '{sys.executable} -m pip install "
        f"{projects}', or set PYTHON."
    )
import torch

if not torch.cuda.is_available():
    built = torch.version.cuda or "none: install a build of PyTorch with CUDA"
    sys.exit(f"There is no GPU with CUDA here (torch {torch.__version__}, its CUDA: {built}).")
import torch_geometric

found = {
    "device": torch.cuda.get_device_name(),
    "capability": ".".join(map(str, torch.cuda.get_device_capability())),
    "memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 2**30),
    "python": platform.python_version(),
    "torch": torch.__version__,
    "cuda": torch.version.cuda,
    "torch_geometric": torch_geometric.__version__,
}
print(found)
pathlib.Path(sys.argv[1], "machine.json").write_text(json.dumps(found, indent=2) + "\n")
PYTHON

# What an earlier run left here is not this one's result.
rm -f "$out"/{summary.json,tests.xml,speed/speed-cuda.json}

limited() { # seconds, log, command: what takes longer is stopped, and the rest goes on
    local seconds=$1 log=$2 status=0
    shift 2
    echo "+ $*"
    timeout "$seconds" "$@" 2>&1 | tee "$out/$log" || status=$?
    [ "$status" -ne 124 ] || echo "Stopped after $seconds seconds." | tee -a "$out/$log"
    return "$status"
}

failed=0
# pytest ends by itself after 200 seconds, so that the results until then are written.
limited 220 tests.log "$python" -m pytest -m cuda -rA --junitxml "$out/tests.xml" \
    --session-timeout 200 tests/test_devices.py tests/loader || failed=1
speed=("$python" benchmarks/speed.py --device cuda --dataset "$dataset" --root "$root" --out "$out/speed"
    --steps 5 --seconds 15)
limited 180 speed.log "${speed[@]}" --model lightgcn sgl lightgcn_plus lightgcn_int \
    --precision 32-true bf16-mixed || failed=1
limited 120 speed-tf32.log "${speed[@]}" --model sgl lightgcn_int --tf32 || failed=1

"$python" - "$out" <<'PYTHON' || failed=1
import json, pathlib, sys, xml.etree.ElementTree as xml

out = pathlib.Path(sys.argv[1])
summary = {"machine": json.loads((out / "machine.json").read_text())}
if (out / "tests.xml").exists():
    suite = xml.parse(out / "tests.xml").getroot().find("testsuite")
    summary["tests"] = {
        key: int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")
    }
    summary["failed"] = [
        case.get("name")
        for case in suite.iter("testcase")
        if any(case.find(kind) is not None for kind in ("failure", "error"))
    ]
    summary["launches"] = {
        case.get("name"): int(entry.get("value"))
        for case in suite.iter("testcase")
        for entry in case.iter("property")
        if entry.get("name") == "launches"
    }
if (out / "speed" / "speed-cuda.json").exists():
    rows = json.loads((out / "speed" / "speed-cuda.json").read_text())
    summary["speed"] = [
        {key: row[key] for key in ("model", "precision", "dataset")}
        | {side: row[side]["epoch"] for side in ("ours", "plain") if side in row}
        for row in rows
    ]
(out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
print(json.dumps(summary, indent=2))
PYTHON
exit "$failed"
