"""The encoder of a store as a file: of this release, of earlier ones, and damaged."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from served import check_version, current, data_of, item, pairs, user, without

from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.version import encoder_file
from recbole_unlearn.deletion.version.state import State
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import checkpoint, tensor_file
from recbole_unlearn.model_file import load_model, read_content


@pytest.fixture
def state(path):
    service.prepare(path)
    return State.load(str(current(path)))


def size_of(state):
    return len(state.model.ego_embeddings())


def test_an_encoder_is_read_as_it_was_written(state, tmp_path):
    file = str(tmp_path / "encoder.safetensors")
    encoder_file.write(file, state.encoder)
    again = encoder_file.read(file, size_of(state), state.config)
    before, after = state.encoder.to_plain(), again.to_plain()
    assert torch.equal(before["gain"], after["gain"]) and torch.equal(before["cost"], after["cost"])
    assert after["scores"] == before["scores"] and (again.weight, again.passes) == (0.3, 3)
    other = str(tmp_path / "other.safetensors")
    encoder_file.write(other, again)
    assert Path(file).read_bytes() == Path(other).read_bytes()


DAMAGED = {
    "another gain": (lambda tensors: tensors.update(gain=tensors["gain"][1:]), "do not fit each other"),
    "a cost that is not finite": (lambda tensors: tensors["cost"].fill_(float("nan")), "no finite numbers"),
    "no cost": (lambda tensors: tensors.pop("cost"), "cost"),
    "no regression": (lambda tensors: tensors.pop("booster"), "spread"),
    "a regression of no known form": (
        lambda tensors: tensors.update(booster=tensor_file.text_tensor("tree")),
        "is no encoder of a store",
    ),
    "a regression that is no text": (
        lambda tensors: tensors.update(booster=torch.full((9,), 255, dtype=torch.uint8)),
        "is no encoder of a store",
    ),
    **{
        f"{name}={size}": (
            lambda tensors, line=f"{name}={size}": tensors.update(booster=longer(tensors["booster"], line)),
            "larger than its text",
        )
        for name, size in (("num_leaves", 10**8), ("max_feature_idx", 10**12), ("num_tree_per_iteration", 10**8))
    },
}


def longer(booster, line):
    return tensor_file.text_tensor(f"{line}\n{tensor_file.text_of(booster)}")


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_encoder_is_one_line(state, tmp_path, what):
    spoil, message = DAMAGED[what]
    file = str(tmp_path / "encoder.safetensors")
    encoder_file.write(file, state.encoder)
    tensors, settings = tensor_file.read(file, encoder_file.KIND)
    spoil(tensors)
    tensor_file.write(file, encoder_file.KIND, tensors, settings)
    with pytest.raises(UsageError, match=message):
        encoder_file.read(file, size_of(state), state.config)


def test_an_encoder_of_another_model_is_refused(state, tmp_path):
    file = str(tmp_path / "encoder.safetensors")
    encoder_file.write(file, state.encoder)
    with pytest.raises(UsageError, match=f"is of {size_of(state)} users and items, not of {size_of(state) + 1}"):
        encoder_file.read(file, size_of(state) + 1, state.config)


def earlier_writer(ending):
    """Writes what earlier releases wrote: two regressions, and by how much they differ on pairs never seen."""

    def write(path, encoder):
        plain = encoder.to_plain()
        text, spread = plain["scores"]["booster"], 0.25
        if ending == ".pth":
            plain["scores"] = {"boosters": [text, text], "spread": spread}
            checkpoint.save(path.removesuffix(".safetensors") + ".pth", plain)
        else:
            tensors = {f"booster.{place}": tensor_file.text_tensor(text) for place in range(2)}
            tensors |= {"gain": plain["gain"], "cost": plain["cost"]}
            tensor_file.write(path, encoder_file.KIND, tensors, {"spread": spread})

    return write


@pytest.fixture(params=[".pth", ".safetensors"])
def earlier(path, request, monkeypatch):
    """The path of a checkpoint whose store has an encoder of an earlier release."""
    with monkeypatch.context() as patch:
        patch.setattr(encoder_file, "write", earlier_writer(request.param))
        service.prepare(path)
    assert {file.suffix for file in current(path).glob("encoder.*")} == {request.param}
    return path


def test_a_store_of_an_earlier_release_goes_on_with_an_encoder_fitted_anew(earlier, tmp_path, caplog):
    """It forgets as a store of this release does, of the same model and data."""
    before = data_of(current(earlier))
    requests = [user("r1", "u17"), item("r2", "i23"), pairs("r3", *before["train"][::20])]
    caplog.clear()
    with caplog.at_level("INFO"):
        service.unlearn(earlier, requests)
    told = [record.getMessage() for record in caplog.records if "of an earlier release" in record.getMessage()]
    assert len(told) == 1 and "fits the encoder anew, without a twin" in told[0]
    check_version(current(earlier), without(before, *requests))
    assert service.verify(earlier).findings == [], "the old version, in quarantine, is read as well"

    there = encoder_file.read_plain(str(current(earlier) / "encoder.safetensors"))
    assert set(there["scores"]) == {"booster"}
    tokens = read_content(str(current(earlier) / "model.safetensors"))
    lost = [tokens["user_tokens"].index(None, 1), len(tokens["user_tokens"]) + tokens["item_tokens"].index(None, 1)]
    assert not there["gain"][lost].any() and not there["cost"][lost].any() and there["gain"].any()

    os.mkdir(tmp_path / "new")
    other = shutil.copy(earlier, tmp_path / "new")
    service.unlearn(other, requests)
    tables = [load_model(str(current(each) / "model.safetensors"))[1].ego_embeddings() for each in (earlier, other)]
    assert torch.equal(*tables)

    caplog.clear()
    with caplog.at_level("INFO"):
        service.unlearn(earlier, [user("r4", "u3")])
    assert "earlier release" not in caplog.text


def test_an_earlier_encoder_of_another_model_is_refused(earlier):
    file = next(str(each) for each in current(earlier).glob("encoder.*"))
    with pytest.raises(UsageError, match="is no encoder of its model"):
        encoder_file.read(file, 3, State.load(str(current(earlier))).config)


@pytest.mark.parametrize("told", [True, False])
def test_a_store_says_that_it_is_made_without_a_twin(path, told, caplog):
    with caplog.at_level("INFO"):
        service.prepare(path, {"ie_teacher": "twin"} if told else {})
    assert ("made without a twin" in caplog.text) == told
    assert read_content(str(current(path) / "model.safetensors"))["config"]["ie_teacher"] == "none"
