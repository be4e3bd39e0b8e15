"""Pages of the repository that lie outside of ``docs``, on the site too; hooks of MkDocs.

A link is written as it works in the repository, such as ``../../benchmarks/results/README.md``.
On the site such a page is beside those of ``docs``; a link to what the site lacks is text.
"""

import posixpath
import re
from itertools import chain
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
SHOWN = (
    *("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"),
    *("benchmarks/*.csv", "benchmarks/*.yaml"),
    *(f"benchmarks/results/**/*.{ending}" for ending in ("md", "csv", "png", "yaml")),
)
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^()\s:#]+)(#[^()\s]*)?\)")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Adds the files."""
    for path in sorted(set(chain.from_iterable(ROOT.glob(pattern) for pattern in SHOWN))):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turns links of the repository into those of the site."""
    here = page.file.src_uri
    own = Path(page.file.abs_src_path or config.docs_dir)
    shown = own.is_relative_to(ROOT) and not own.is_relative_to(config.docs_dir)
    folder = posixpath.dirname(here if shown else f"docs/{here}")

    def moved(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.endswith(".ipynb") and posixpath.basename(path)[:-6] != Path(here).stem:
            # Its page, from which the notebook itself is linked.
            return f"{text}({target.removesuffix('ipynb')}md{anchor})"
        if path.startswith("docs/") and not shown:
            return found[0]  # MkDocs looks after these
        site = path.removeprefix("docs/")
        for name in (site, f"{site}/README.md"):
            if files.get_file_from_path(name) is not None:
                start = posixpath.dirname(here) or "."
                return f"{text}({posixpath.relpath(name, start)}{anchor})"
        return text.lstrip("!")[1:-1]

    # What is between backticks is no link, but the text of a link may be.
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    linked = LINK.sub(moved, CODE.sub(keep, markdown))
    return re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], linked)
