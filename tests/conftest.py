"""A tiny dataset, settings that keep everything a run writes in a temporary folder, and runs that tests share."""

import copy
import gc
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = (
    "1"  # before torch is there: a forked child has none of its parent's threads, and waits for them
)
os.environ["RAY_AUTH_MODE"] = (
    "disabled"  # else a machine with a token starts clusters that want it, and drivers that bring none
)

import pytest
import torch
from filelock import FileLock

from recbole_unlearn import command_line
from recbole_unlearn.config import Config
from recbole_unlearn.files import checkpoint
from recbole_unlearn.task import prepare_data
from recbole_unlearn.testing import prepared_run, tiny_dataset, tiny_settings
from recbole_unlearn.testing.runs import tiny_rows  # noqa: F401  (tests import it from here)
from recbole_unlearn.trainer import train_backbone


def pytest_configure(config):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so do theirs
    config.addinivalue_line("markers", "draws: draws the figures of reports")
    config.addinivalue_line("markers", "quality: trains on ml-100k, twenty seconds; deselect with -m 'not quality'")
    for warning in (r":::recbole\.", ":Sparse CSR tensor support", ":Sparse invariant checks", ":__array_wrap__ must"):
        config.addinivalue_line("filterwarnings", f"ignore{warning}")  # of RecBole's own code and its libraries


def pytest_collection_modifyitems(items):
    """The longest files first, so that no process ends long after the others."""
    items.sort(key=lambda item: item.path.stem not in ("test_sweep", "test_reproduce", "test_cli"))


def pytest_collection_finish():
    """Each measured block of a run collects garbage: it need not look through a million objects of the libraries."""
    gc.collect()
    gc.freeze()


def write_atomic(path, rows, header=("user_id", "item_id")):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(f"{field}:token" for field in header), *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(scope="session")
def data_path(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.getbasetemp() / "recbole_unlearn_testing")


@pytest.fixture
def settings(tmp_path, monkeypatch, data_path):
    monkeypatch.chdir(tmp_path)
    return tiny_settings(data_path, str(tmp_path / "saved"))


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """A run draws no figure, which takes longer than a tiny training, except in modules marked ``draws``."""
    if not request.node.get_closest_marker("draws"):
        for name in ("figure.score_distributions", "gap_figure.draw_gaps", "audit_figure.draw_audit"):
            monkeypatch.setattr(f"recbole_unlearn.report.{name}", lambda _, path, *__, **___: Path(path).touch())


@pytest.fixture
def here(settings):
    """Settings with paths that mean something in this working directory only."""
    return {**settings, "data_path": os.path.relpath(settings["data_path"]), "checkpoint_dir": "saved"}


def writer(path):
    def write(text):
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def space_file(tmp_path):
    """Write a search space: ``space_file("ie_rho choice [0.1]")`` returns its path."""
    return writer(tmp_path / "hyper.test")


@pytest.fixture
def yaml_file(tmp_path):
    """Write settings: ``yaml_file("epochs: 3")`` returns the path."""
    return writer(tmp_path / "settings.yaml")


@pytest.fixture
def configure(settings):
    """Build a Config of the tiny dataset: ``configure("SGL", type="ND")``."""
    return lambda model="LightGCN", **changes: Config(model, "tiny", config_dict={**settings, **changes})


@pytest.fixture
def prepared(configure):
    """Prepare a run up to its trained original model: ``prepared("SGL", type="ND")``.

    Tests share trainings: the fixture fails a test that changes the data it shares.
    """
    given = []

    def prepare(model="LightGCN", **changes):
        run = prepared_run(configure(model, **changes))
        given.append((copy.copy(run), copy.deepcopy(run.content_of_data())))
        return run

    yield prepare
    for run, before in given:
        same = all(torch.equal(old, new) for old, new in zip(before, run.content_of_data(), strict=True))
        assert same, "the test changes data that other tests share"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data_path):
    """The checkpoint of a small trained model, alone in a folder."""
    from served import train  # imports deletion, which most tests do without

    return train(tmp_path_factory.mktemp("trained"), data_path)


@pytest.fixture
def path(trained, tmp_path, monkeypatch):
    """A copy of that checkpoint, without a store."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("saved")
    return shutil.copy(trained, tmp_path / "saved")


@pytest.fixture
def ray_cluster():
    """The address of a running Ray cluster of two cores, which whoever uses it leaves running."""
    with running_cluster() as address:
        yield address


@contextmanager
def running_cluster(*options):
    """A Ray cluster of two cores, started with more options of ``ray start``; it must be left running."""
    with FileLock(Path(tempfile.gettempdir()) / "recbole_unlearn_ray_start.lock"):  # another worker starts one as well
        head, address = _started_head(options)
    try:
        yield address
        assert head.poll() is None, "the cluster is left running"
    finally:
        _kill(head)


def _started_head(options, attempts=3):
    """The process of a cluster that answers, and its address; a port that somebody took meanwhile has a second try."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head"]
    start = ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats", "--block"]
    for _ in range(attempts):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [*ray, *start, f"--port={port}", "--node-ip-address=127.0.0.1", *options]
        # A Config of an earlier test hides the GPUs of its process, and ray then refuses to start with one.
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        with tempfile.TemporaryFile() as output:
            head = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, env=environment)
            deadline = time.monotonic() + 60
            while head.poll() is None and time.monotonic() < deadline:
                joins = [sys.executable, "-c", f"import ray; ray.init('127.0.0.1:{port}')"]  # its port answers earlier
                if subprocess.run(joins, capture_output=True).returncode == 0:
                    return head, f"127.0.0.1:{port}"
            _kill(head)
            output.seek(0)
            said = output.read().decode(errors="replace")
    raise AssertionError(f"ray did not start: {said}")


def _kill(head):
    with suppress(ProcessLookupError):
        os.killpg(head.pid, signal.SIGKILL)  # asked politely, it takes half a minute
    head.wait(timeout=60)


def keywords(arguments):
    """What the function of a run or of a sweep is called with for a command."""
    command, parsed = command_line.parse(list(arguments))
    return importlib.import_module(f"recbole_unlearn.commands.{command}").keywords(parsed)


@pytest.fixture
def whole_and_resumed(configure, monkeypatch):
    """Train a network twice: in one go, and interrupted at its first save. Gives both, which must be equal."""

    def train(backbone, **settings):
        config = configure(backbone, **settings)
        data = prepare_data(config)
        whole = train_backbone(config, data.train, "whole").model
        saved, save_whole = [], checkpoint.save

        def save(path, content):
            save_whole(path, content)
            if path.endswith(".resume"):
                saved.append(path)
                raise KeyboardInterrupt

        monkeypatch.setattr("recbole_unlearn.trainer.resumable.SECONDS_BETWEEN_SAVES", 0)
        monkeypatch.setattr(checkpoint, "save", save)
        config = config.replace(checkpoint_dir=f"{config['checkpoint_dir']}/other")
        with pytest.raises(KeyboardInterrupt):
            train_backbone(config, data.train, "whole")
        monkeypatch.setattr(checkpoint, "save", save_whole)
        resumed = train_backbone(config, data.train, "whole").model
        states = whole.state_dict().values(), resumed.state_dict().values()
        assert saved and all(torch.equal(*pair) for pair in zip(*states))
        return whole, resumed

    return train
