"""The map of a run's intents in the page."""

import base64
import re

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from irllrec_pyg import RunConfig, run
from irllrec_pyg.report import build, render


@pytest.mark.slow
def test_a_run_with_intents_has_a_map(tmp_path):
    for model, settings in (
        ("lightgcn_int", {"training.epochs": 1}),
        ("ease", {"ranker.trials": 0}),
    ):
        config = RunConfig.of(model, "sample", settings, root=tmp_path)
        run(config, tmp_path / model, progress=False)
    folders = [tmp_path / "lightgcn_int", tmp_path / "ease"]
    page = render(build(folders, intents=True), "html")
    (image,) = re.findall(r'src="data:image/png;base64,([^"]+)" alt="Map of intents of', page)
    assert base64.b64decode(image).startswith(b"\x89PNG")
    assert page == render(build(folders, intents=True), "html")
