"""Cells side by side, here and on Ray: which wait for which, and what becomes of the others if one fails."""

from contextlib import nullcontext
from dataclasses import dataclass
from threading import Barrier
from time import sleep

import pytest
import ray
from reproduced import cell_of, left_by
from reproduction.cells import load
from reproduction.processes import CellFailed, original_of, run_here, run_on_ray


@dataclass(eq=False)
class Task:
    """What stands for the result of a task; ``waited_for`` another's."""

    cell: object
    waited_for: object
    result: object


@pytest.fixture
def tasks(monkeypatch):
    """Ray without a cluster: tasks are run here when they are submitted. The list of them."""
    submitted = []

    def remote(**_):
        def of(function):
            def submit(cell, leader):
                result = leader.result if leader else None
                if not isinstance(result, ray.exceptions.RayError):  # else it is this task's, too, which is not run
                    try:
                        result = function(cell, result)
                    except Exception as error:
                        result = ray.exceptions.RayError(str(error))
                submitted.append(Task(cell, leader and leader.cell, result))
                return submitted[-1]

            function.remote = submit
            return function

        return of

    def get(task):
        if isinstance(task.result, ray.exceptions.RayError):
            raise task.result
        return task.result

    monkeypatch.setattr("recbole_unlearn.cluster.Cluster", lambda address, resources: nullcontext())
    functions = {
        "remote": remote,
        "get": get,
        "wait": lambda waiting, num_returns: (waiting[:1], waiting[1:]),
        "cluster_resources": dict,
    }
    for name, function in functions.items():
        monkeypatch.setattr(ray, name, function)
    return submitted


def of_other_runs():
    """Cells of three original models."""
    more = ("forget_ratio", 0.02)
    return [
        cell_of("Retrain"),
        cell_of("Retrain", seed=2022),
        cell_of("GIF"),
        cell_of("GIF", more),
        cell_of("UnlearnRec", more),
        cell_of("CEU"),
    ]


@pytest.fixture
def run_as(monkeypatch):
    """Let cells run as a function says: ``run_as(lambda cell: ...)``, which may raise."""

    def install(act=lambda cell: None):
        monkeypatch.setattr("reproduction.processes.run", lambda cell, machine: (act(cell), left_by(cell))[1])

    return install


def ended(folder, cells):
    return [load(folder, cell) is not None for cell in cells]


def test_the_first_cell_of_an_original_goes_ahead_of_the_others(tasks, tmp_path, run_as):
    run_as()
    cells = of_other_runs()
    assert run_on_ray(cells, {}, tmp_path, "auto") == {}
    first, _, _, more, _, _ = cells
    assert [(task.cell, task.waited_for) for task in tasks] == list(zip(cells, [None, None, first, None, more, first]))
    assert all(ended(tmp_path, cells))


@pytest.mark.parametrize("error", [CellFailed("exit code 1"), KeyboardInterrupt()], ids=["failed", "interrupted"])
def test_as_many_cells_run_here_at_a_time_as_there_are_workers(tmp_path, run_as, error):
    both, is_failure = Barrier(2), isinstance(error, CellFailed)  # passed by two at a time alone

    def act(cell):
        both.wait(timeout=30)
        if cell.method == "GIF":
            raise error
        sleep(0 if is_failure else 0.2)  # and ends after the interruption

    run_as(act)
    cells = [cell_of("Retrain"), cell_of("GIF"), cell_of("CEU"), cell_of("IFRU")]
    with nullcontext() if is_failure else pytest.raises(KeyboardInterrupt):
        assert run_here(cells, {}, tmp_path, workers=2) == {cells[1]: error}
    assert ended(tmp_path, cells) == [True, False, is_failure, is_failure], "what is done beside it is kept"


@pytest.mark.parametrize("workers, machine", [(1, "some machine"), (3, "some machine, 3 runs at a time")])
def test_a_cell_says_how_many_ran_beside_it(tmp_path, run_as, workers, machine):
    run_as()
    assert run_here([cell_of("GIF")], {}, tmp_path, workers) == {}
    assert load(tmp_path, cell_of("GIF"))["versions"]["machine"] == machine


def test_a_failed_cell_does_not_fail_those_that_wait_for_it(tasks, tmp_path, run_as):
    def act(cell):
        if cell.method == "Retrain":
            raise CellFailed("exit code 1")

    run_as(act)
    cells = of_other_runs()
    failed = run_on_ray(cells, {}, tmp_path, "auto")
    assert {cell: str(error) for cell, error in failed.items()} == dict.fromkeys(cells[:2], "exit code 1")
    assert ended(tmp_path, cells) == [False, False, True, True, True, True]


@pytest.mark.parametrize(
    "other, same",
    [
        (cell_of("GIF"), True),
        (cell_of("UnlearnRec", ("ie_target", "negative"), ("ie_epochs", 2)), True),
        (cell_of("UnlearnRec", ("unlearn_finetune_epochs", 3)), True),
        (cell_of("Retrain", ("forget_ratio", 0.02)), False),
        (cell_of("Retrain", seed=2022), False),
        (cell_of("Retrain", setting="d128"), False),
        (cell_of("Retrain", request="random"), False),
        (cell_of("Retrain", model="SGL"), False),
        (cell_of("Retrain", dataset="gowalla"), False),
    ],
    ids=str,
)
def test_cells_have_one_original_unless_its_training_differs(other, same):
    assert (original_of(other) == original_of(cell_of("Retrain"))) == same


def test_requests_of_real_interactions_share_the_original():
    cells = [
        cell_of(request="random"),
        cell_of("GIF", request="user"),
        cell_of("GIF", ("forget_ratio", 0.02), request="random"),
        cell_of(request="case-study"),
    ]
    assert len(set(map(original_of, cells))) == 1
