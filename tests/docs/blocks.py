"""Code in Markdown, and how it is run."""

import re
import shlex

from irllrec_pyg.cli import main

SHELL = ("&&", "||", "|", ">", "&", ";")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(text, *languages):
    """Language and code of the blocks in some languages, in their order."""
    return [found.groups() for found in BLOCK.finditer(text) if found[1] in languages]


def commands(code):
    """The arguments of each command of ``irllrec`` in a block for a shell."""
    for line in code.replace("\\\n", " ").splitlines():
        line = line.removeprefix("$ ")
        if line.startswith("irllrec "):
            words = shlex.split(line, comments=True)
            end = next((at for at, word in enumerate(words) if word in SHELL), None)
            yield words[1:end]


def run_page(path, languages=("python", "bash")):
    """Runs the blocks of a page in the folder where the process is; gives the names it made."""
    names = {"__name__": "__main__"}
    for language, code in blocks(path.read_text(encoding="utf-8"), *languages):
        if language == "python":
            exec(compile(code, path.name, "exec"), names)
            continue
        found = list(commands(code))
        assert found, f"{path.name} has a block of bash without a command of irllrec:\n{code}"
        for arguments in found:
            assert main(arguments) == 0, f"{path.name}: irllrec {shlex.join(arguments)}"
    return names
