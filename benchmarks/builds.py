"""Two commits side by side: the checkout here, and an earlier commit as a git worktree, each in a process of its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EARLIER = "e6764c5"
HERE = Path(__file__).resolve().parents[1]


class Build:
    """A process of one checkout that answers, line by line, what a script asks of it.

    Args:
        source: the checkout.
        script: run with ``--serve`` and the arguments; it prints ``ready``, and for each line it reads ``answer ...``.
        log: file of what it prints on standard error.
    """

    def __init__(self, source: Path, script: str, log: Path, *arguments: str) -> None:
        command = [sys.executable, script, "--serve", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(source)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log.open("w")}
        self.log, self.process = log, subprocess.Popen(command, env=environment, text=True, **pipes)
        self._line("ready")

    def ask(self, question: object) -> list[float]:
        """The numbers that it answers."""
        self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()
        return [float(word) for word in self._line("answer").split()[1:]]

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()

    def _line(self, begins: str) -> str:
        for line in self.process.stdout:
            if line.startswith(begins):
                return line
        raise RuntimeError(f"{self.process.args} has ended: {self.log.read_text()}")


@contextmanager
def checkouts() -> Iterator[tuple[Path, list[Path]]]:
    """A temporary folder, and the checkouts: the earlier one, for the time being, and this one."""
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder, "earlier")
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(earlier), EARLIER], check=True)
        try:
            yield Path(folder), [earlier, HERE]
        finally:
            subprocess.run([*git, "remove", "--force", str(earlier)], check=True)
