"""Runs of cells: a process each, on this machine or on Ray."""

import subprocess
import sys
from collections import deque
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from recbole_unlearn.command_line import INTERRUPTED
from reproduction.cells import ROOT, distil, save


class CellFailed(Exception):
    """A cell's process ended with an error; what it said went to the console."""


def run(cell, machine):
    """Run one cell in a process of its own, whose peak of memory is therefore its own.

    Args:
        cell (Cell): to run.
        machine (dict): settings that change no result, ``checkpoint_dir`` and ``data_path`` among them; absolute paths.

    Returns:
        dict: see :func:`reproduction.cells.distil`.

    Raises:
        CellFailed: it ended with an error.
        KeyboardInterrupt: it was interrupted.
    """
    report_file = Path(machine["checkpoint_dir"], "cells", cell.file)
    report_file.parent.mkdir(parents=True, exist_ok=True)
    report_file.unlink(missing_ok=True)  # the rows of an earlier run would be taken over, seconds included
    script, *arguments = cell.command
    arguments += [f"--{key}={value}" for key, value in {**machine, "report_file": report_file}.items()]
    code = subprocess.run([sys.executable, ROOT / script, *arguments], cwd=ROOT).returncode
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise CellFailed(f"exit code {code}")
    return distil(str(report_file))


def run_here(cells, machine, results, workers=1):
    """Run cells on this machine, each saved as soon as it is done.

    Args:
        cells (list of Cell): to run, begun in this order.
        machine (dict): see :func:`run`.
        results (str): folder of results.
        workers (int): cells at a time. Those that need the same training wait for each other at its file's lock.

    Returns:
        dict: the cells that failed, to their errors.
    """

    def run_and_save(cell):
        result = run(cell, machine)
        save(results, cell, _beside_others(result, f"{workers} runs at a time") if workers > 1 else result)

    failed = {}
    waiting, running = deque(enumerate(cells, 1)), {}
    with ThreadPoolExecutor(workers) as pool:
        while waiting or running:
            while waiting and len(running) < workers:  # no sooner: after an interruption none may begin
                number, cell = waiting.popleft()
                print(f"\n[{number}/{len(cells)}] {cell}", flush=True)
                running[pool.submit(run_and_save, cell)] = cell
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                cell = running.pop(done)
                try:
                    done.result()
                except CellFailed as error:
                    failed[cell] = error
    return failed


def _beside_others(result, how):
    """A result whose seconds and memory are those of a machine with other runs on it."""
    versions = result["versions"]
    return {**result, "versions": {**versions, "machine": f"{versions['machine']}, {how}"}}


def run_on_ray(cells, machine, results, address):
    """The same on a running Ray cluster whose machines have this checkout, ``checkpoint_dir`` and
    ``data_path`` at the same paths; one cell a task. The first of those with the same original trains it, the others wait.

    Args:
        cells, machine, results: see :func:`run_here`.
        address (str): of the cluster, e.g. ``auto``.

    Returns:
        dict: the cells that failed, to their errors.

    Raises:
        UsageError: no cluster is there.
    """
    import ray

    from recbole_unlearn.cluster import Cluster, gpus_given  # takes seconds; before ray, whose environment it sets

    failed = {}
    with Cluster(address, {"cpu": 1}):
        gpus = 1 if ray.cluster_resources().get("GPU") else 0

        @ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)
        def task(cell, leader):
            try:
                return run(cell, {**machine, **gpus_given()} if gpus else machine)
            except CellFailed as error:
                return error  # raised, it would fail the cells that wait for it, too

        waiting, leaders = {}, {}
        for cell in cells:
            leader = leaders.get(original_of(cell))
            submitted = task.remote(cell, leader)
            leaders.setdefault(original_of(cell), submitted)
            waiting[submitted] = cell
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            cell = waiting.pop(done)
            try:
                result = ray.get(done)
            except ray.exceptions.RayError as error:
                result = CellFailed(getattr(error, "cause", error))
            if isinstance(result, CellFailed):
                failed[cell] = result
            else:
                save(results, cell, _beside_others(result, "on Ray"))
            print(f"[{len(cells) - len(waiting)}/{len(cells)}] {cell}", flush=True)
    return failed


def original_of(cell):
    """What cells that start from the same original model have in common: it knows of no request but adversarial edges."""
    if cell.request != "adversarial":
        return replace(cell, method="", request="", changes=())
    return replace(cell, method="", changes=tuple(change for change in cell.changes if change[0] == "forget_ratio"))
