"""A new checkpoint against the store of the model before: what was forgotten must not be back, and stays suppressed."""

import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from served import as_typed, contents, data_of, pairs, train, user

from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store import Store, carried
from recbole_unlearn.deletion.suppression import Suppression, filter_file
from recbole_unlearn.errors import UsageError

ERASED = DeletionRequest("r1", [("user", "u17", None), ("item", None, "i23"), ("interaction", "u0", "i3")])


@pytest.fixture
def old(path):
    """The store of the model before, moved away from the checkpoint."""
    store = service.prepare(path)
    service.unlearn(path, [ERASED])
    os.rename(store.folder, "saved/OLD.store")
    return "saved/OLD.store"


@pytest.fixture(scope="module")
def without(tmp_path_factory, data_path, trained):
    """A checkpoint trained on data that a filter has let pass, of which another store decides."""
    folder = tmp_path_factory.mktemp("without")
    shutil.copy(trained, folder)
    checkpoint = str(folder / trained.name)
    store = service.prepare(checkpoint)
    service.unlearn(checkpoint, [ERASED])
    shutil.copytree(data_path, folder / "data")
    done = filter_file(folder / "data" / "tiny" / "tiny.inter", Suppression(store), in_place=True)
    assert min(done.dropped.values()) >= 1
    return train(folder, str(folder / "data"))


@pytest.fixture
def new(without, path, tmp_path):
    return shutil.copy(without, tmp_path / "saved" / "new.safetensors")


def rows_of(*rows):
    return pd.DataFrame(rows, columns=["user_id", "item_id"])


BACK = rows_of(("u17", "i1"), ("u1", "i23"), ("u0", "i3"), ("u0", "i1"))


def test_a_checkpoint_whose_data_hold_what_was_forgotten_is_refused_with_counts(path, old):
    data = data_of(Path(old, "versions", "0001"))
    rows = [row for part in data.values() for row in part]
    users, items = sum(u == "u17" for u, _ in rows), sum(i == "i23" and u != "u17" for u, i in rows)
    before = contents("saved")
    code, out, err = as_typed(f"--checkpoint={path}", "--prepare", f"--against={old}")
    assert code == 2 and err.count("\n") == 1 and contents("saved") == before
    assert f"hold {users + items + 1} rows of what '{old}' forgot: {users} of erased users, {items} of erased" in err
    assert f"run-unlearn filter --store={old} FILE" in err
    assert not re.search(r"\b(u17|i23)\b", out + err)


def test_the_new_store_goes_on_suppressing_with_its_own_key_and_without_the_old_one(new, old):
    store = service.prepare(new, against=old)
    assert Suppression(store).keep(BACK).tolist() == [False, False, False, True]
    assert service.verify(new).is_clean()
    assert Path(store.folder, "key").read_bytes() != Path(old, "key").read_bytes()
    assert service.prepare(new, against=old).folder == store.folder
    shutil.rmtree(old)
    service.unlearn(new, [user("r2", "u5")])  # the next version carries them, too
    assert Suppression(store.folder).keep(pd.concat([BACK, rows_of(("u5", "i1"))])).tolist() == [False] * 3 + [
        True,
        False,
    ]
    assert service.verify(new).is_clean()
    service.unlearn(new, exact=True)
    assert Suppression(store.folder).keep(BACK).tolist() == [False, False, False, True]


def test_hashes_go_on_through_several_stores(new, old):
    second = service.prepare(new, against=old)
    service.unlearn(new, [user("r2", "u5")])
    os.rename(second.folder, "saved/SECOND.store")
    with pytest.raises(UsageError, match="hold .* rows of what 'saved/SECOND.store' forgot"):
        service.prepare(new, against="saved/SECOND.store")
    forgotten = carried.forgotten_by(Store("saved/SECOND.store"))
    third = Store.create(
        str(Path("saved/THIRD.store").absolute()),
        lambda place: None,
        details=carried.details_of(forgotten),
        write_beside=lambda place: carried.write(place, forgotten),
    )
    for each in (old, "saved/SECOND.store"):
        shutil.rmtree(each)
    gone = [False, False, False, True, False]
    assert Suppression(third).keep(pd.concat([BACK, rows_of(("u5", "i1"))])).tolist() == gone
    assert len(os.listdir("saved/THIRD.store/earlier")) == 4


def test_unfinished_requests_of_the_old_store_count(new, path, old):
    store = Store(old)
    with store.locked(0):
        store.submit([user("r9", "u3")])
    with pytest.raises(UsageError, match=r"hold \d+ rows .*: \d+ of erased users, 0 of erased items, 0 forgotten"):
        service.prepare(new, against=old)


def test_consent_given_anew(path, old, tmp_path):
    """The tiny data have no times, so that no consent can be told from the old rows."""
    consents = tmp_path / "consents.csv"
    consents.write_text("user_id,since\nu17,2020-01-01\n")
    with pytest.raises(UsageError, match="before the latest request"):
        service.prepare(path, against=old, readmit=str(consents))
    store = Store(old)
    later = pd.Timestamp.now(tz="UTC").isoformat()
    assert store.requests()[0]["submitted_at"] <= later
    consents.write_text(f"user_id,since\nu17,{later}\n")
    with pytest.raises(UsageError, match="column of times"):
        service.prepare(path, against=old, readmit=str(consents))


def test_a_store_that_was_made_without_the_old_one(new, old):
    service.prepare(new)
    with pytest.raises(UsageError, match="was made without 'saved/OLD.store'"):
        service.prepare(new, against=old)


def test_a_store_that_misses_the_last_requests_of_the_old_one(new, path, old):
    service.prepare(new, against=old)
    os.rename(old, Path(path).with_suffix(".store"))
    service.unlearn(path, [pairs("r7", ("u2", "i2"))])
    with pytest.raises(UsageError, match="or before its last requests"):
        service.prepare(new, against=str(Path(path).with_suffix(".store")))


def test_a_checkpoint_that_was_trained_again_is_pointed_to_the_check(path, new):
    service.prepare(path)
    shutil.copy(new, path)
    with pytest.raises(UsageError, match=r"trained again\. Move the store away, .* --prepare --against=OLD\.store"):
        service.prepare(path)


@pytest.mark.parametrize("ending", [".key", ".hashes"])
@pytest.mark.parametrize("how", ["gone", "changed", "cut"])
def test_damage_of_what_is_carried_is_one_line(new, old, ending, how):
    store = service.prepare(new, against=old)
    (file,) = Path(store.folder, "earlier").glob(f"*{ending}")
    content = file.read_bytes()
    file.unlink()
    if how != "gone":
        file.write_bytes(content[:-1] if how == "cut" else bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(UsageError, match="is missing or was changed") as error:
        Suppression(store.folder)
    assert "\n" not in str(error.value)
    assert str(file) in [finding.file for finding in service.verify(new).findings]


def test_what_is_carried_is_private_and_names_nobody(new, old):
    store = service.prepare(new, against=old)
    files = list(Path(store.folder, "earlier").iterdir())
    assert len(files) == 2 and all(file.stat().st_mode & 0o077 == 0 for file in files)
    assert not any(token in file.read_bytes() for file in files for token in (b"u17", b"i23"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--against=o"], "--against needs --prepare"),
        (["--prepare", "--readmit=c.csv"], "--readmit needs --against"),
        (["--prepare", "--against=saved"], "is no store"),
    ],
)
def test_wrong_usage(path, arguments, message):
    code, _, err = as_typed(f"--checkpoint={path}", *arguments)
    assert code == 2 and message in err and err.count("\n") == 1
