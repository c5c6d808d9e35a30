"""Several processes that hold some columns each train the model that one process trains."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
import torch.nn.functional as F
from recbole.trainer import Trainer

from recbole_unlearn import run_unlearn
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import checkpoint
from recbole_unlearn.model import MODELS
from recbole_unlearn.model.lightgcn import LightGCN
from recbole_unlearn.model_file import load_model
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import resumable, train_backbone

EPOCHS = 3


@pytest.fixture
def data(configure):
    """The same data for every training; without a seed of its own, a Config with other settings draws another split."""
    return prepare_data(configure())


def trained(configure, model, data, folder, **changes):
    config = configure(model, **{"epochs": EPOCHS, "eval_step": 2, "checkpoint_dir": folder, **changes})
    return train_backbone(config, data.train, "original", data.valid_data)


@pytest.mark.parametrize(
    "model, changes",
    [
        ("BPR", {}),
        ("LightGCN", {"require_pow": False}),
        ("LightGCN", {"learner": "sgd", "learning_rate": 1.0}),
        ("SGL", {"type": "RW", "ssl_candidates": 5}),
        ("SimGCL", {}),
        ("SimGCL", {"ssl_candidates": 5, "simgcl_sum": True}),
        ("SGL", {"type": "ND", "train_batch_size": 1, "epochs": 1}),  # fewer rows than processes
        ("XSimGCL", {"epochs": 1}),
        ("LightGCL", {"epochs": 1, "ssl_candidates": 5}),
        ("NCL", {"epochs": 2, "warm_up_step": 1, "ssl_reg": 0.01, "proto_reg": 0.01}),
        ("DirectAU", {"epochs": 1}),
        ("UltraGCN", {"epochs": 1, "ultragcn_negatives": 5}),
    ],
)
def test_two_processes_train_what_one_trains(configure, data, model, changes):
    one, two = (trained(configure, model, data, str(n), nproc=n, **changes) for n in (1, 2))
    table, same = (each.model.ego_embeddings() for each in (one, two))
    assert table.shape == same.shape and not torch.equal(table, torch.zeros_like(table))
    torch.testing.assert_close(same, table, rtol=1e-3, atol=1e-4 * table.abs().max().item())
    assert Path(one.file).name != Path(two.file).name  # the order of sums differs, as with other threads
    states = [checkpoint.load(each.file, torch.device("cpu")) for each in (one, two)]
    assert states[0].keys() == states[1].keys()
    assert states[1]["best_valid_result"] == pytest.approx(states[0]["best_valid_result"], abs=0.02)


def test_helpers_do_not_count_as_a_method_s_memory(settings):
    peaks = []
    for nproc in (1, 2):
        given = {**settings, "nproc": nproc, "unlearn_methods": "DropEdges", "checkpoint_dir": f"saved{nproc}"}
        peaks.append(run_unlearn("LightGCN", "tiny", config_dict=given)["results"][-1]["peak_memory_mb"])
    assert peaks[1] < peaks[0] + 100  # a helper has imported torch, too


def test_a_model_s_file_asks_for_no_other_process(settings):
    run_unlearn("LightGCN", "tiny", config_dict={**settings, "nproc": 2, "unlearn_methods": "DropEdges"})
    (file,) = Path(settings["checkpoint_dir"]).glob("DropEdges-*.safetensors")
    config, *_ = load_model(str(file))
    assert (config["nproc"], config["ray_address"]) == (1, None)


def test_an_interrupted_training_goes_on(configure, data, monkeypatch):
    monkeypatch.setattr(resumable, "SECONDS_BETWEEN_SAVES", 0)
    straight = trained(configure, "SimGCL", data, "straight", nproc=2).model.ego_embeddings()
    train_epoch = Trainer._train_epoch

    def interrupted(self, loader, epoch, *arguments, **named):
        if epoch == EPOCHS - 1:
            raise KeyboardInterrupt
        return train_epoch(self, loader, epoch, *arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "_train_epoch", interrupted)
        trained(configure, "SimGCL", data, "saved", nproc=2)
    assert list(Path("saved").glob("*.resume"))
    assert torch.equal(trained(configure, "SimGCL", data, "saved", nproc=2).model.ego_embeddings(), straight)


def test_a_process_that_is_killed_costs_one_line_and_no_epoch(configure, data, monkeypatch):
    monkeypatch.setattr(resumable, "SECONDS_BETWEEN_SAVES", 0)
    train_epoch = Trainer._train_epoch

    def alone(self, loader, epoch, *arguments, **named):
        if epoch == EPOCHS - 1:
            helpers = [child for child in psutil.Process().children() if "popen_loky" in " ".join(child.cmdline())]
            assert helpers
            for helper in helpers:
                helper.send_signal(signal.SIGKILL)
        return train_epoch(self, loader, epoch, *arguments, **named)

    with monkeypatch.context() as patch, pytest.raises(UsageError, match="Another process of this training ended"):
        patch.setattr(Trainer, "_train_epoch", alone)
        trained(configure, "LightGCN", data, "saved", nproc=2)
    resumed = trained(configure, "LightGCN", data, "saved", nproc=2).model.ego_embeddings()
    assert torch.equal(resumed, trained(configure, "LightGCN", data, "straight", nproc=2).model.ego_embeddings())


class MixesColumns(LightGCN):
    """Normalises rows of its own columns, as if they were all."""

    def forward(self, ego, adjacency):
        return super().forward(F.normalize(ego, dim=1), adjacency)


@pytest.mark.parametrize(
    "model, changes, message",
    [
        ("LightGCN", {"embedding_size": 9}, "--nproc=2 divides the table's 9 columns among processes"),
        ("LightGCN", {"clip_grad_norm": {"max_norm": 1.0}}, "Setting 'clip_grad_norm' needs all columns"),
        ("MixesColumns", {}, "MixesColumns cannot be trained by columns"),
        ("DGCF", {}, "DGCF cannot be trained by columns: its routing compares intents. Leave out --nproc."),
    ],
)
def test_what_columns_cannot_train_is_refused(configure, data, monkeypatch, model, changes, message):
    monkeypatch.setitem(MODELS._classes, "MixesColumns", MixesColumns)
    with pytest.raises(UsageError, match=message):
        trained(configure, model, data, "saved", nproc=2, **changes)
    assert not list(Path("saved").glob("*.pth"))


def test_torchrun(settings):
    script = str(Path(__file__).parents[1] / "run_unlearn.py")
    run = [f"--data_path={settings['data_path']}", "--epochs=2", "--unlearn_methods=DropEdges", "--gpu_id="]
    run += ["--model=LightGCN", "--dataset=tiny", "--embedding_size=8", "--topk=5", "--valid_metric=ndcg@5"]
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", script]
    rows = []
    for command in (torchrun, [script, "--nproc=2", "--checkpoint_dir=again"]):
        done = subprocess.run([sys.executable, *command, *run], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        lines = (done.stdout + done.stderr).splitlines()
        rows.append([line.split()[:-3] for line in lines if line.startswith((" original ", "DropEdges "))])
    assert len(rows[0]) == 2 and rows[0] == rows[1]
