"""Two commits side by side: the checkout here, and an earlier commit as a git worktree, each in a process of its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
        self.log = log
        with log.open("w") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            self.process = subprocess.Popen(command, env=environment, text=True, **pipes)

    def __enter__(self) -> "Build":
        self._line("ready")
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, question: object) -> list[float]:
        """The numbers that it answers."""
        with suppress(BrokenPipeError):  # it has ended: its log says why
            self.process.stdin.write(f"{question}\n")
            self.process.stdin.flush()
        return [float(word) for word in self._line("answer").split()[1:]]

    def _line(self, begins: str) -> str:
        for line in self.process.stdout:
            if line.startswith(begins):
                return line
        raise RuntimeError(f"{self.process.args} has ended: {self.log.read_text()}")


@contextmanager
def checkouts(commit: str) -> Iterator[tuple[Path, list[Path]]]:
    """A temporary folder, and the checkouts: that of an earlier commit, for the time being, and this one."""
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder, "earlier")
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(earlier), commit], check=True)
        try:
            yield Path(folder), [earlier, HERE]
        finally:
            subprocess.run([*git, "remove", "--force", str(earlier)], check=True)
