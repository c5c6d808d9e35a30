"""A tiny dataset of clustered tastes, and settings that keep everything a run writes in a temporary folder."""

import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

os.environ["OMP_NUM_THREADS"] = (
    "1"  # before torch is there: a forked child has none of its parent's threads, and waits for them
)
os.environ["RAY_AUTH_MODE"] = (
    "disabled"  # else a machine with a token starts clusters that want it, and drivers that bring none
)

import numpy as np
import pytest

from recbole_unlearn.config import Config
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import train_backbone

N_USERS, N_ITEMS, N_TASTES = 40, 30, 3


def pytest_configure(config):
    for warning in (r":::recbole\.", ":Sparse CSR tensor support", ":Sparse invariant checks", ":__array_wrap__ must"):
        config.addinivalue_line("filterwarnings", f"ignore{warning}")  # of RecBole's own code and its libraries


def pytest_collection_modifyitems(items):
    """The longest files first, so that no process ends long after the others."""
    items.sort(key=lambda item: item.path.stem not in ("test_sweep", "test_reproduce", "test_cli"))


def tiny_rows():
    """Ten items a user, eight of them of the user's taste."""
    generator = np.random.default_rng(0)
    taste = np.arange(N_ITEMS) % N_TASTES
    for user in range(N_USERS):
        liked = generator.choice(np.flatnonzero(taste == user % N_TASTES), 8, replace=False)
        others = generator.choice(np.flatnonzero(taste != user % N_TASTES), 2, replace=False)
        yield from ((f"u{user}", f"i{item}") for item in np.concatenate([liked, others]))


def write_atomic(path, rows, header=("user_id", "item_id")):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(f"{field}:token" for field in header), *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(scope="session")
def data_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_atomic(folder / "tiny" / "tiny.inter", tiny_rows())
    return str(folder)


@pytest.fixture
def settings(tmp_path, monkeypatch, data_path):
    monkeypatch.chdir(tmp_path)
    return {
        "data_path": data_path,
        "checkpoint_dir": str(tmp_path / "saved"),
        "gpu_id": "",
        "seed": 7,
        "show_progress": False,
        "embedding_size": 8,
        "n_layers": 2,
        "epochs": 4,
        "eval_step": 2,
        "stopping_step": 10,
        "train_batch_size": 128,
        "learning_rate": 0.02,
        "metrics": ["Recall", "NDCG"],
        "topk": [5],
        "valid_metric": "NDCG@5",
        "forget_type": "random",
        "forget_ratio": 0.05,
        "forget_attack_epochs": 2,
        "unlearn_negatives": 200,
        "unlearn_finetune_epochs": 1,
        "ie_epochs": 2,
        "ie_batch_size": 128,
        "unlearn_shard_workers": 1,
        "unlearn_receraser_shards": 3,
        "unlearn_grapheraser_shards": 3,
        "unlearn_sisa_shards": 3,
    }


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
    """Prepare a run up to its trained original model: ``prepared("SGL", type="ND")``."""

    def prepare(model="LightGCN", **changes):
        config = configure(model, **changes)
        data = prepare_data(config)
        original = train_backbone(config, data.train, "original", data.valid_data).model
        return SimpleNamespace(config=config, data=data, original=original)

    return prepare


@pytest.fixture
def ray_cluster():
    """The address of a running Ray cluster of two cores, which whoever uses it leaves running."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = [
        "--head",
        f"--port={port}",
        "--num-cpus=2",
        "--include-dashboard=false",
        "--disable-usage-stats",
        "--block",
    ]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *start, "--node-ip-address=127.0.0.1"]
    head = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "ray did not start"
                time.sleep(0.2)
        yield f"127.0.0.1:{port}"
        assert head.poll() is None, "the cluster is left running"
    finally:
        os.killpg(head.pid, signal.SIGKILL)  # asked politely, it takes half a minute
        head.wait(timeout=60)
