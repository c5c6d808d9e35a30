"""RecBole's own quick start beside this package: it runs, and each loads its own files or says who does."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from test_checkpoint import Touch

from recbole_unlearn import load_data_and_model, run_unlearn
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import recbole_checkpoint

RUN = """
import sys
import recbole_unlearn
import torch
from recbole.quick_start import load_data_and_model, run_recbole
from recbole.quick_start.quick_start import objective_function

settings = {settings}
result = run_recbole(model="LightGCN", dataset="tiny", config_dict=dict(settings))
assert result["test_result"]["ndcg@5"] > 0, result
(file,) = __import__("glob").glob("saved/LightGCN-*.pth")
config, model, dataset, train, valid, test = load_data_and_model(file)
assert type(model).__module__ == "recbole.model.general_recommender.lightgcn" and len(dataset) == 400
saved = recbole_unlearn.files.recbole_checkpoint.load(file)
assert torch.equal(model.user_embedding.weight, saved["state_dict"]["user_embedding.weight"])
assert objective_function({{**settings, "model": "LightGCN", "dataset": "tiny"}}, saved=False)["best_valid_score"] > 0
for ours in sys.argv[1:]:
    try:
        load_data_and_model(ours)
    except ValueError as error:
        print("REFUSED", error)
print("FILE", file)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory, data_path):
    """RecBole's quick start in a process of its own, after a run of ours: the files and what it printed."""
    folder = tmp_path_factory.mktemp("recbole")
    settings = {
        "data_path": data_path,
        "gpu_id": "",
        "seed": 7,
        "show_progress": False,
        "epochs": 1,
        "embedding_size": 8,
    }
    settings |= {"metrics": ["NDCG"], "topk": [5], "valid_metric": "NDCG@5", "checkpoint_dir": "saved"}
    own = {**settings, "checkpoint_dir": str(folder / "own"), "forget_type": "random", "unlearn_methods": "DropEdges"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_unlearn("LightGCN", "tiny", config_dict=own)
    ours = sorted(str(path) for path in (folder / "own").glob("DropEdges-*") if path.suffix in (".pth", ".safetensors"))
    earlier = str(folder / "own" / "earlier.pth")
    torch.save(
        {"config": {}, "state_dict": {}, "edges": torch.zeros(2, 0), "user_tokens": [], "item_tokens": []}, earlier
    )
    (folder / "run.py").write_text(textwrap.dedent(RUN.format(settings=settings)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    result = subprocess.run(
        [sys.executable, "run.py", *ours, earlier],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, [*ours, earlier], result.stdout


def test_recboles_quick_start_runs_and_loads(ran):
    folder, _, printed = ran
    assert "FILE saved/LightGCN-" in printed


def test_recboles_loader_says_who_loads_our_files(ran):
    _, ours, printed = ran
    refused = [line for line in printed.splitlines() if line.startswith("REFUSED")]
    assert len(ours) == 2
    assert refused == [
        f"REFUSED '{path}' is a model of recbole_unlearn: load it with recbole_unlearn.load_data_and_model."
        for path in ours
    ]


def test_our_loader_says_who_loads_recboles(ran):
    folder, _, printed = ran
    path = str(folder / printed.rpartition("FILE ")[2].strip())
    assert recbole_checkpoint.is_recboles(path)
    with pytest.raises(
        UsageError, match="recbole.quick_start.load_data_and_model loads it, and run_unlearn.py --checkpoint"
    ):
        load_data_and_model(path)


@pytest.mark.parametrize("content", [{"config": Touch()}, Touch(), {"state_dict": os.system}])
def test_nothing_that_a_checkpoint_names_is_run(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "x.pth", pickle_protocol=4)
    with pytest.raises(
        UsageError, match="'x.pth' is not a checkpoint of RecBole's Trainer: it names .*If you trust it"
    ):
        recbole_checkpoint.load("x.pth")
    assert not (tmp_path / "executed").exists()


def test_what_models_keep_besides_tensors(tmp_path):
    kept = {"adjacency": torch.eye(3).to_sparse(), "best": np.float64(0.5), "rows": np.arange(3), "seen": {1, 2}}
    torch.save(kept, tmp_path / "x.pth", pickle_protocol=4)
    loaded = recbole_checkpoint.load(tmp_path / "x.pth")
    assert torch.equal(loaded["adjacency"].to_dense(), torch.eye(3)) and loaded["rows"].tolist() == [0, 1, 2]
    assert (loaded["best"], loaded["seen"]) == (0.5, {1, 2})


def test_a_missing_checkpoint():
    with pytest.raises(UsageError, match="Checkpoint 'gone.pth' does not exist"):
        recbole_checkpoint.load("gone.pth")
