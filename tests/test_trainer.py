"""Trainings that are interrupted, continued, loaded, and those that diverge."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from time import sleep

import pytest
import torch
from recbole.trainer import Trainer
from recbole.utils import init_logger

from recbole_unlearn import run_unlearn
from recbole_unlearn.data.copies import with_edges
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import checkpoint
from recbole_unlearn.method import METHODS
from recbole_unlearn.model import MODELS as UNLEARNABLE
from recbole_unlearn.task import prepare_data
from recbole_unlearn.trainer import resumable, train_backbone
from recbole_unlearn.trainer.influence_encoder import ENCODER_LOSSES

MODELS = ["BPR", "LightGCN", "SGL", "SimGCL"]


@pytest.fixture(autouse=True)
def save_every_epoch(monkeypatch):
    monkeypatch.setattr(resumable, "SECONDS_BETWEEN_SAVES", 0)


@pytest.fixture
def epochs_run(monkeypatch):
    """The epochs that trainers run, in order; set ``interrupt_at`` to break off after that epoch's training."""

    class Epochs(list):
        interrupt_at = None

    epochs, train_epoch = Epochs(), Trainer._train_epoch

    def record(self, train_data, epoch, *arguments, **named):
        result = train_epoch(self, train_data, epoch, *arguments, **named)
        epochs.append(epoch)
        if epoch == epochs.interrupt_at:
            epochs.interrupt_at = None
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Trainer, "_train_epoch", record)
    return epochs


def files(config):
    return sorted(Path(config["checkpoint_dir"]).iterdir())


def elsewhere(config):
    """The same settings with another folder, where nothing is trained yet."""
    return config.replace(checkpoint_dir=f"{config['checkpoint_dir']}-elsewhere")


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_interrupted_training_goes_on_as_if_it_had_not_been(configure, epochs_run, model, validated):
    config = configure(model, epochs=6, eval_step=2)
    data = prepare_data(config)
    valid = data.valid_data if validated else None
    straight = train_backbone(elsewhere(config), data.train, "broken", valid)

    epochs_run.clear()
    epochs_run.interrupt_at = 3
    with pytest.raises(KeyboardInterrupt):
        train_backbone(config, data.train, "broken", valid)
    assert any(path.suffix == ".resume" for path in files(config))
    torch.manual_seed(12345)
    continued = train_backbone(config, data.train, "broken", valid)
    assert epochs_run == [0, 1, 2, 3, 3, 4, 5]
    assert_same_weights(continued.model.state_dict(), straight.model.state_dict())
    assert continued.seconds > continued.seconds_before > 0
    assert not any(path.suffix == ".resume" for path in files(config))


@pytest.mark.parametrize(
    "model, changes, again",
    [
        (
            "NCL",
            {"m_step": 2, "warm_up_step": 1, "proto_reg": 0.1},
            [2, 3, 4, 5],
        ),  # the fourth epoch has the clusters of the third
        ("LightGCL", {}, [3, 4, 5]),
    ],
)
def test_a_training_whose_views_last_goes_on_where_it_draws_them(configure, epochs_run, model, changes, again):
    config = configure(model, epochs=6, **changes)
    data = prepare_data(config)
    straight = train_backbone(elsewhere(config), data.train, "broken").model
    epochs_run.interrupt_at = 3
    with pytest.raises(KeyboardInterrupt):
        train_backbone(config, data.train, "broken")
    epochs_run.clear()
    continued = train_backbone(config, data.train, "broken").model
    assert epochs_run == again
    assert_same_weights(continued.state_dict(), straight.state_dict())
    assert continued.epoch is None  # outside of a training, as when it is loaded


@pytest.mark.parametrize("model", MODELS)
def test_interrupted_pretraining_goes_on_as_if_it_had_not_been(prepared, tmp_path, epochs_run, model):
    weights = {f"ie_{loss}_weight": 1.0 for loss in ENCODER_LOSSES}
    run = prepared(model, ie_target="negative", ie_epochs=6, ie_epochs_per_request=2, **weights)

    def encoder(folder):
        method = METHODS["UnlearnRec"](
            run.config.replace(checkpoint_dir=str(tmp_path / folder)), run.data, run.original
        )
        method.prepare()
        return method.encoder.encoder.state_dict()

    straight = encoder("straight")
    epochs_run.interrupt_at = 3
    with pytest.raises(KeyboardInterrupt):
        encoder("broken")
    epochs_run.clear()
    continued = encoder("broken")
    assert epochs_run == [3, 4, 5]
    assert_same_weights(continued, straight)


def test_continued_training_remembers_its_best_epoch(configure, epochs_run):
    config = configure(epochs=6, eval_step=1, learning_rate=0.3)
    data = prepare_data(config)
    straight = train_backbone(elsewhere(config), data.train, "broken", data.valid_data)
    epochs_run.interrupt_at = 5
    with pytest.raises(KeyboardInterrupt):
        train_backbone(config, data.train, "broken", data.valid_data)
    saved = {path.suffix: checkpoint.load(path) for path in files(config) if path.name.startswith("broken")}
    assert saved[".pth"]["epoch"] < 5 and saved[".resume"]["epoch"] == 5
    continued = train_backbone(config, data.train, "broken", data.valid_data)
    assert_same_weights(continued.model.state_dict(), straight.model.state_dict())


def test_interruption_before_the_first_save_starts_over(configure, epochs_run):
    config = configure()
    data = prepare_data(config)
    epochs_run.interrupt_at = 0
    with pytest.raises(KeyboardInterrupt):
        train_backbone(config, data.train, "broken", data.valid_data)
    train_backbone(config, data.train, "broken", data.valid_data)
    assert epochs_run == [0, 0, 1, 2, 3]


def test_interruption_during_a_save_keeps_the_save_before(configure, epochs_run, monkeypatch):
    config = configure(epochs=6)
    data = prepare_data(config)
    straight = train_backbone(elsewhere(config), data.train, "broken", data.valid_data)
    save = torch.save

    def write_half(state, file, *arguments, **named):
        if state.get("epoch") == 3 and "optimizer" in state:
            file.write(b"half")
            raise KeyboardInterrupt
        return save(state, file, *arguments, **named)

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(KeyboardInterrupt):
        train_backbone(config, data.train, "broken", data.valid_data)
    monkeypatch.setattr(torch, "save", save)
    epochs_run.clear()
    continued = train_backbone(config, data.train, "broken", data.valid_data)
    assert epochs_run == [2, 3, 4, 5]
    assert_same_weights(continued.model.state_dict(), straight.model.state_dict())


def test_finished_training_is_loaded_and_not_repeated(configure, epochs_run):
    config = configure()
    data = prepare_data(config)
    first = train_backbone(config, data.train, "original", data.valid_data)
    epochs_run.clear()
    second = train_backbone(config, data.train, "original", data.valid_data)
    assert epochs_run == []
    assert_same_weights(first.model.state_dict(), second.model.state_dict())
    assert second.seconds == second.seconds_before == first.seconds and first.seconds_before == 0
    assert not second.model.training


def test_waiting_for_another_process_at_the_same_training_is_not_counted_again(configure):
    config = configure()
    train = prepare_data(config).train
    first = train_backbone(config, train, "same")

    begun = Event()

    def hold():
        """Have the lock for longer than the training took."""
        with checkpoint.alone(first.file):
            begun.set()
            sleep(first.seconds + 1)

    Thread(target=hold).start()
    assert begun.wait(timeout=30)
    second = train_backbone(config, train, "same")
    assert second.seconds == first.seconds and second.seconds_before == 0, "whoever measured saw it go by"


def test_retrained_model_does_not_depend_on_earlier_requests(configure, tmp_path):
    """Two adversarial requests leave the same clean edges, but hide other items from the validation."""
    changes = {
        **{"epochs": 40, "eval_step": 1, "stopping_step": 3, "learning_rate": 0.01},
        **{"forget_type": "adversarial", "forget_ratio": 0.2, "forget_attack_pool": 0.5},
    }
    shared = str(tmp_path / "shared")
    for seed in range(1, 5):
        config = configure(forget_seed=seed, checkpoint_dir=str(tmp_path / f"alone{seed}"), **changes)
        data = prepare_data(config)
        alone, after_others = (
            train_backbone(each, data.remaining, "retrain", data.valid_data).model.state_dict()
            for each in (config, config.replace(checkpoint_dir=shared))
        )
        assert_same_weights(after_others, alone)


@pytest.mark.parametrize("changes", [{"seed": 8}, {"learning_rate": 0.03}, {"epochs": 5}, {"ssl_weight": 0.5}])
def test_other_settings_are_another_training(configure, epochs_run, changes):
    data = prepare_data(configure("SGL"))
    train_backbone(configure("SGL"), data.train, "original")
    epochs_run.clear()
    train_backbone(configure("SGL", **changes), data.train, "original")
    assert epochs_run


def test_other_edges_are_another_training(configure, epochs_run):
    config = configure()
    data = prepare_data(config)
    train_backbone(config, data.train, "original")
    epochs_run.clear()
    train_backbone(config, data.remaining, "original")
    assert epochs_run == [0, 1, 2, 3]


def test_other_items_of_the_same_users_are_another_training(configure, epochs_run):
    config = configure()
    train = prepare_data(config).train
    of_one_user = torch.nonzero(train.inter_feat["user_id"] == 5).flatten()
    for row in of_one_user[:2]:
        epochs_run.clear()
        train_backbone(config, with_edges(train, torch.arange(len(train)) != row), "original")
        assert epochs_run == [0, 1, 2, 3]


def test_other_validation_data_are_another_training(configure, epochs_run):
    config = configure()
    data = prepare_data(config)
    train_backbone(config, data.train, "original", data.valid_data)
    epochs_run.clear()
    train_backbone(config, data.train, "original", data.test_data)
    assert epochs_run


def test_same_training_twice_gives_the_same_weights(configure):
    config = configure("SimGCL")
    data = prepare_data(config)
    models = [train_backbone(each, data.train, "one", data.valid_data).model for each in (config, elsewhere(config))]
    assert_same_weights(models[0].state_dict(), models[1].state_dict())


@pytest.mark.parametrize("detected", [True, False])
def test_a_training_under_torchs_anomaly_detection_says_so(configure, caplog, detected):
    config = configure("BPR")
    data = prepare_data(config)
    with torch.autograd.set_detect_anomaly(detected):
        train_backbone(config, data.train, "original", data.valid_data)
    assert ("anomaly detection is on" in caplog.text) == detected


def test_best_epoch_is_kept(configure, monkeypatch):
    config = configure(epochs=6, eval_step=1, learning_rate=0.3)
    data = prepare_data(config)
    scores = []
    valid_epoch = Trainer._valid_epoch

    def record(self, *arguments, **named):
        result = valid_epoch(self, *arguments, **named)
        scores.append((result[0], {name: value.clone() for name, value in self.model.state_dict().items()}))
        return result

    monkeypatch.setattr(Trainer, "_valid_epoch", record)
    model = train_backbone(config, data.train, "original", data.valid_data).model
    best = max(range(6), key=lambda epoch: (scores[epoch][0], epoch))
    assert_same_weights(model.state_dict(), scores[best][1])


def test_early_stopping(configure, epochs_run):
    config = configure(epochs=50, eval_step=1, stopping_step=1, learning_rate=0.5)
    data = prepare_data(config)
    train_backbone(config, data.train, "original", data.valid_data)
    assert len(epochs_run) < 50


@pytest.mark.parametrize("model", ["BPR", "SGL"])
def test_diverging_training_is_refused_and_never_taken_for_finished(configure, epochs_run, model):
    config = configure(model, learning_rate=1e38)
    data = prepare_data(config)
    for _ in range(2):
        with pytest.raises(
            UsageError, match=rf"loss of {model} became (nan|inf|-inf) in epoch \d.*smaller learning rate"
        ):
            train_backbone(config, data.train, "original", data.valid_data)
    assert not any(checkpoint.load(path)["finished"] for path in files(config) if path.suffix == ".pth")


def test_the_same_training_twice_at_a_time_is_made_once(configure, epochs_run):
    config = configure()
    data = prepare_data(config)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: train_backbone(config, data.train, "shared", data.valid_data), range(2))
    assert epochs_run == [0, 1, 2, 3]
    assert_same_weights(first.model.state_dict(), second.model.state_dict())


def test_a_folder_that_another_process_makes_meanwhile_is_no_error(configure, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = configure()
    model = UNLEARNABLE["LightGCN"](config, prepare_data(config).train)
    for folder in (config["checkpoint_dir"], f"log/{config['model']}"):
        os.makedirs(folder, exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setattr(os.path, "exists", lambda path: False)  # as they were before the other process
        init_logger(config)
        resumable.ResumableTrainer(config, model, "any")


def test_a_run_leaves_no_unfinished_state_behind(settings, tmp_path):
    changes = {**settings, "unlearn_finetune_epochs": 3, "unlearn_methods": "all"}
    run_unlearn("LightGCN", "tiny", config_dict=changes)
    assert [
        path.name
        for path in (tmp_path / "saved").iterdir()
        if path.suffix not in (".pth", ".safetensors", ".json", ".npz", ".png", ".svg", ".html")
    ] == []
