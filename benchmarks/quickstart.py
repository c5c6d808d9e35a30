"""Runs the first hour's commands in a fresh clone and a fresh environment, and writes docs/quickstart.md from them.

    python benchmarks/quickstart.py

It installs the package with pip, so that it takes what the network takes; all else is offline.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = "saved/original-LightGCN-ml-100k-random-2020.safetensors"
LOGGED = re.compile(r"^\d\d \w{3} \d\d:\d\d +INFO +")  # when RecBole's logger wrote a line
QUIET = {"TERM": "dumb", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"}


@dataclass(frozen=True)
class Step:
    """A command, what it is for, and which part of its output a reader needs.

    Args:
        why: a sentence before the command.
        command: for a shell.
        after: shown is the output from the last line with this text on; all of it if empty, nothing if None.
    """

    why: str
    command: str
    after: str | None = ""


STEPS = (
    Step("Install the package with the tested versions.", "pip install -c constraints.txt .", None),
    Step(
        "Train a LightGCN, forget 1 % of its interactions with three methods, and compare these with training anew. "
        "`ml-100k` comes with RecBole.",
        "run-unlearn run --model=LightGCN --dataset=ml-100k --forget_type=random --show_progress=False",
        "LightGCN on ml-100k, seed 2020",
    ),
    Step(
        "Write down whom to forget: a whole user, and one interaction of another.",
        "printf 'request_id,user_id,item_id\\nr1,196,\\nr2,186,302\\n' > requests.csv",
    ),
    Step(
        "Make the trained model forget them. The first call makes a store beside the model.",
        f"run-unlearn delete --checkpoint={CHECKPOINT} --forget_file=requests.csv --show_progress=False",
    ),
    Step(
        "Search the store for anything forgotten.",
        f"run-unlearn verify --checkpoint={CHECKPOINT}",
    ),
)


def taken(step: Step, folder: Path, environment: dict[str, str]) -> tuple[float, str]:
    """Run a step; returns its seconds and the output to show.

    Raises:
        RuntimeError: it failed.
    """
    start = time.perf_counter()
    process = subprocess.run(
        ["bash", "-c", step.command],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seconds = time.perf_counter() - start
    if process.returncode:
        raise RuntimeError(f"{step.command}\n{process.stdout}")
    if step.after is None:
        return seconds, ""
    lines = [LOGGED.sub("", line) for line in re.sub(r"\x1b\[[0-9;]*m", "", process.stdout).rstrip().splitlines()]
    if step.after:
        lines = lines[max(number for number, line in enumerate(lines) if step.after in line) :]
    return seconds, "\n".join(line.rstrip() for line in lines).replace(str(folder), ".")


def page(results: list[tuple[Step, float, str]]) -> str:
    """The page, as Markdown."""
    parts = [
        "# Quickstart",
        "From a clone to a first table in two commands, and to a forgotten user, verified, in three more. "
        "`python benchmarks/quickstart.py` ran them in a fresh clone and a fresh environment, on two CPU cores, and wrote "
        f"this page: {sum(seconds for _, seconds, _ in results) / 60:.0f} minutes in all.",
    ]
    for number, (step, seconds, output) in enumerate(results, 1):
        parts.append(f"## {number}. {step.why.partition('.')[0]}\n\n{step.why.partition('.')[2].strip()}".strip())
        parts.append(
            f"```bash\n{step.command}\n```\n\n{seconds:.0f} seconds."
            if seconds >= 1
            else f"```bash\n{step.command}\n```"
        )
        parts += [f"```\n{output}\n```"] if output else []
    parts.append(
        "Next: [what the columns mean](evaluation.md), [other requests](requests.md), "
        "[what the store keeps and how to serve it](deletion.md)."
    )
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Clone, make an environment, run the steps, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quickstart.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, environment = Path(temporary) / "recbole-unlearn", Path(temporary) / "environment"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | QUIET
        results = []
        for step in STEPS:
            print(step.command, flush=True)
            results.append((step, *taken(step, folder, {**variables, "PATH": path, "VIRTUAL_ENV": str(environment)})))
        shutil.rmtree(folder)
    arguments.output.write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
