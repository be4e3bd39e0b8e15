"""Processes that measure one thing each, for speed.py."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


class Worker:
    """A process that measures one implementation; see worker.py."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py")), json.dumps(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.sizes = self.answer()

    def answer(self) -> Any:
        """Waits for a line."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"A measuring process ended with status {self.process.wait()}; if "
                "the memory did not suffice, measure fewer models or a smaller "
                "batch."
            )
        return json.loads(line)

    def __call__(self, command: str, *arguments: Any) -> Any:
        """Has it do something and waits for what it found."""
        self.process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """Ends it."""
        self.process.stdin.close()
        self.process.wait()


def once(spec: dict[str, Any]) -> Any:
    """What a process with a single question answers."""
    worker = Worker(spec)
    worker.close()
    return worker.sizes
