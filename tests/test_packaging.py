"""What is in the source tree is in the installed package too."""

import configparser
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = configparser.ConfigParser(inline_comment_prefixes=("#",))
CONFIG.read(ROOT / "setup.cfg")


def test_every_package_is_listed():
    folders = {path.parent for path in (ROOT / "irllrec_pyg").rglob("*.py")}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    listed = set(CONFIG["options"]["packages"].split())
    # The sample set lies outside the package's folder, beside its data card.
    assert listed == found | {"irllrec_pyg.datasets.sample"}


def test_every_file_that_is_read_at_run_time_is_listed():
    data = CONFIG["options.package_data"]
    for path in (ROOT / "irllrec_pyg").rglob("*"):
        if not path.is_file() or path.suffix in (".py", ".pyc"):
            continue
        package, rest = path.parent, Path(path.name)
        while not (package / "__init__.py").exists():
            package, rest = package.parent, package.name / rest
        name = ".".join(package.relative_to(ROOT).parts)
        if name.startswith("irllrec_pyg.datasets.sample"):
            continue
        patterns = data.get(name, "").replace(",", " ").split()
        assert any(rest.match(pattern) for pattern in patterns), path
