"""Benchmarks outside the suite keep up with the package: what they import is there."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "benchmarks"
LOAD = "import runpy, sys; [runpy.run_path(script, run_name='loaded') for script in sys.argv[1:]]"


def test_scripts_find_what_they_import():
    scripts = sorted(path.name for path in FOLDER.glob("*.py"))
    done = subprocess.run([sys.executable, "-c", LOAD, *scripts], cwd=FOLDER, capture_output=True, text=True)
    assert scripts and done.returncode == 0, done.stderr
