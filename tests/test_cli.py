"""The dispatcher of the command line."""

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from irllrec_pyg import __version__
from irllrec_pyg.cli import SUBCOMMANDS, build_parser, main, one_line
from irllrec_pyg.files import ADVICE

ROOT = Path(__file__).parents[1]


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in SUBCOMMANDS)


def test_help_of_a_command_needs_no_extra() -> None:
    code = (
        "import sys; sys.modules['openai'] = None; sys.modules['wordllama'] = None\n"
        "from irllrec_pyg.cli import main; main(['texts', '--help'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    assert "--response-format" in result.stdout


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "COMMAND" in capsys.readouterr().err


def test_version_and_help_need_no_torch() -> None:
    for option, said in (("--version", __version__), ("--help", "recommend")):
        code = (
            "import sys; sys.modules['torch'] = None\n"
            f"from irllrec_pyg.cli import main; main(['{option}'])"
        )
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
        assert said in result.stdout


def test_the_package_is_the_command() -> None:
    command = [sys.executable, "-m", "irllrec_pyg", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout == f"irllrec_pyg {__version__}\n"


@pytest.mark.parametrize("name", list(SUBCOMMANDS))
def test_every_option_says_what_it_is(name: str) -> None:
    (commands,) = [action for action in build_parser(name)._actions if action.dest == "subcommand"]
    waiting = [commands.choices[name]]  # type: ignore[index, call-overload]
    while waiting:
        for action in waiting.pop()._actions:
            if isinstance(action.choices, dict):
                waiting += action.choices.values()
            assert action.help, action.option_strings


def test_completion_knows_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert "--max-per" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_a_fault_of_the_package_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise TypeError("a fault")

    monkeypatch.setattr("irllrec_pyg.settings.run", fail)
    with pytest.raises(TypeError):
        main(["settings"])


def test_an_error_is_one_line_unless_its_place_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(args: object) -> int:
        raise ValueError("wrong,\n  in two lines")

    monkeypatch.setattr("irllrec_pyg.settings.run", fail)
    assert main(["settings"]) == 2
    assert capsys.readouterr().err == "irllrec settings: wrong, in two lines\n"
    with pytest.raises(ValueError, match="wrong"):
        main(["--traceback", "settings"])


def test_errors_of_files_name_the_one_that_is_written_and_the_mend() -> None:
    copied = OSError(errno.ENOSPC, "No space left on device", "from.bin", None, "to.bin")
    assert one_line(copied) == (
        "to.bin: No space left on device. Free some space there, or write to another disk."
    )
    assert one_line(FileNotFoundError(errno.ENOENT, "No such file", "x.csv")) == (
        "x.csv: No such file."
    )
    unnamed = one_line(OSError(errno.EROFS, "Read-only"))
    assert unnamed.endswith("Read-only. Write to a disk that is not read-only.")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of libraries")
@pytest.mark.parametrize("seconds", [0, pytest.param(1.5, marks=pytest.mark.slow)])
def test_ctrl_c_among_the_imports_is_one_line(seconds: float) -> None:
    command = [sys.executable, "-m", "irllrec_pyg", "study", "--out", "nowhere", "--page"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, "irllrec study: stopped.")


def test_ctrl_c_at_work_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(args: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("irllrec_pyg.study.command.run", stop)
    assert main(["study", "--out", "x"]) == 130
    assert "irllrec study: stopped: the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["recommend", "similar", "explain", "serve", "report", "completion"]
)
def test_help_of_what_takes_arguments_alone_comes_at_once(name):
    code = (
        "import sys; from irllrec_pyg.cli import build_parser; build_parser(sys.argv[1]);"
        "sys.exit(any(one in sys.modules for one in ('torch', 'pandas', 'torch_geometric')))"
    )
    assert subprocess.run([sys.executable, "-c", code, name], check=False).returncode == 0


def test_advice_is_given_once():
    text = f"The disk is full: nothing of it was written. {ADVICE[errno.ENOSPC]}"
    assert one_line(OSError(errno.ENOSPC, text, "x.csv")).count("Free some space") == 1
    assert one_line(OSError(errno.ENOSPC, "No space", "x.csv")).count("Free some space") == 1
