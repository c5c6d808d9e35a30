"""A bound on the quality of the shipped method, on data of a usual size."""

import pytest

from recbole_unlearn import run_unlearn

QUICK = {"epochs": 12, "eval_step": 100, "embedding_size": 32, "n_layers": 2, "learning_rate": 0.01}


@pytest.mark.quality
def test_unlearnrec_ends_nearer_to_retraining_than_the_no_op_and_ranks_as_well(tmp_path, monkeypatch):
    """In every measure of forgetting, on ml-100k's adversarial request; twenty seconds of one core."""
    monkeypatch.chdir(tmp_path)
    machine = {"gpu_id": "", "show_progress": False, "checkpoint_dir": "saved", "forget_attack_epochs": 2}
    report = run_unlearn("LightGCN", "ml-100k", config_dict={**machine, **QUICK}, saved=False)
    assert report["forget"]["type"] == "adversarial"
    gaps = {row["method"]: row for row in report["gaps"]}  # a method's last stage is the one that ships
    unlearned, nothing_done = gaps["UnlearnRec"], gaps["DropEdges"]
    for measure in ("MI-BF_gap", "MI-NG_gap", "AUC_FN_gap", "AUC_FT_gap"):
        assert unlearned[measure] < nothing_done[measure], measure
    assert unlearned["ndcg@20_ratio"] > 0.97
