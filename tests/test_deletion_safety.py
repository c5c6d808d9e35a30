"""Deletion requests when something is wrong: bad input, full disks, kills, several processes. Nothing is half done."""

import errno
import functools
import logging
import os
import random
import re
import resource
import shutil
import tempfile
import time
from pathlib import Path

import pytest
import torch
from served import as_typed, changed, check_version, contents, current, data_of, item, pairs, train, user, without
from test_checkpoint import Touch
from test_store import NOBODY, fork, forking, unprivileged

from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.receipt import files as receipt
from recbole_unlearn.deletion.revision import revise as revision
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.version import state as states
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files import checkpoint

REQUEST = user("r1", "u17")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, data_path):
    """A checkpoint and its store."""
    path = train(tmp_path_factory.mktemp("prepared"), data_path)
    service.prepare(path)
    return path


@pytest.fixture
def path(prepared, tmp_path, monkeypatch):
    """A copy of them."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(prepared.parent, tmp_path / "saved", symlinks=True)
    return tmp_path / "saved" / "X.safetensors"


@pytest.fixture
def alone(path):
    """A copy of the checkpoint, without a store."""
    shutil.rmtree(service.store_folder(path))
    return path


# Bad input

GOOD = "requests.inter"
ARGUMENTS = [
    (["--forget_file=gone.inter"], "Request file 'gone.inter' does not exist"),
    (["--forget_file=short.inter"], "do not have the 2 cells of the header"),
    (["--forget_file="], "--forget_file is empty"),
    (["--dry_run"], "--forget_file=FILE is missing"),
    (["--prepare", "--verify"], "--prepare is an option of `run-unlearn delete`, not of `verify`"),
    (["--dry_run", "--exact", f"--forget_file={GOOD}"], "--exact: not allowed with argument --dry_run"),
    (["--verify", f"--forget_file={GOOD}"], "verify takes no settings: leave out --forget_file"),
    (["--prepare", f"--forget_file={GOOD}"], "--prepare applies no requests"),
    (["--seeds=1,2", f"--forget_file={GOOD}"], "--seeds is an option of `run-unlearn run`, not of `delete`"),
    (["--model=BPR", f"--forget_file={GOOD}"], "holds LightGCN on tiny, not model 'BPR'"),
    (["--dataset=other", f"--forget_file={GOOD}"], "was trained with dataset tiny"),
    (["--embedding_size=16", f"--forget_file={GOOD}"], "was trained with embedding_size 8"),
    (["--unlearn_retrain_share=2", f"--forget_file={GOOD}"], "'unlearn_retrain_share' must be a share"),
    (["--forget_users=u17"], "Setting 'forget_users' says nothing to a saved model"),
    (["--forget_strict=False", f"--forget_file={GOOD}"], "Setting 'forget_strict' says nothing to a saved model"),
    (
        ["--unlearn_quarantine_days=4000000", f"--forget_file={GOOD}"],
        "'unlearn_quarantine_days' must be a number of days from 0 to 36500",
    ),
    (
        ["--unlearn_grace_seconds=-1", f"--forget_file={GOOD}"],
        "'unlearn_grace_seconds' must be a number of seconds from 0",
    ),
    *(
        ([f"--wait_seconds={wait}", f"--forget_file={GOOD}"], "not a number of seconds")
        for wait in ("long", "nan", "-1")
    ),
]


@pytest.mark.parametrize("requests", [None, 5, ["r.csv"], [("user", "u1", None)]])
def test_requests_of_another_type_are_refused(path, requests):
    with pytest.raises(UsageError, match="a request file, a RequestSource or a list of DeletionRequest"):
        service.unlearn(path, requests)


def write_request_files(folder):
    for name, text in ((GOOD, "user_id:token\nu17\n"), ("short.inter", "user_id:token\titem_id:token\nu17\n")):
        Path(folder, name).write_text(text)


def check_refused(path, arguments, message, tmp_path):
    """Exit code 2, one line on standard error, and no file is another than before."""
    before = contents(tmp_path)
    code, out, err = as_typed(f"--checkpoint={path}", *arguments)
    assert (code, err.count("\n")) == (2, 1) and err.startswith("run_unlearn: ") and message in err, out + err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("arguments, message", ARGUMENTS)
def test_wrong_usage_is_one_line_and_changes_nothing(path, tmp_path, arguments, message):
    write_request_files(tmp_path)
    check_refused(path, arguments, message, tmp_path)


@pytest.mark.parametrize(
    "name, value", [("n_layers", 1), ("embedding_size", 4), ("dataset", "other"), ("USER_ID_FIELD", "item_id")]
)
def test_settings_that_make_another_model_are_refused(path, name, value):
    service.prepare(path)
    with pytest.raises(UsageError, match=f"was trained with {name} .*: leave out '{name}'"):
        service.unlearn(path, [REQUEST], {name: value})
    assert service.unlearn(path, [REQUEST], {"n_layers": "2"})["version"] == 2


@pytest.mark.parametrize("name", ["learning_rat", "forget_users"])
def test_settings_that_would_vanish_are_refused_in_python_too(path, name):
    for call, requests in ((service.prepare, ()), (service.dry_run, ([],)), (service.unlearn, ([],))):
        with pytest.raises(UsageError, match=f"'{name}'"):
            call(path, *requests, {name: 1})


@pytest.mark.parametrize("mode", ["--prepare", "--dry_run", "--exact", "--verify"])
def test_modes_need_a_checkpoint(tmp_path, monkeypatch, mode):
    monkeypatch.chdir(tmp_path)
    code, _, err = as_typed("--model=BPR", mode)
    said = "--verify needs --checkpoint" if mode == "--verify" else f"{mode} is an option of `run-unlearn delete`"
    assert code == 2 and said in err and err.count("\n") == 1


def mix(table):
    """Give rows to others: by half of the pairs, as usual. On so few pairs, the luckiest orders come to .57."""
    table[1:] = table[1:][torch.randperm(len(table) - 1, generator=torch.Generator().manual_seed(4))]


BAD_CHECKPOINTS = {
    "missing": (Path.unlink, "does not exist"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "does not exist"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-2000]), "is no"),
    "bomb": (
        lambda path: torch.save({"user_tokens": Touch(), "config": Touch()}, path),
        "not a checkpoint of RecBole's",
    ),
    "other": (lambda path: checkpoint.save(path, {"state_dict": {}}), "not a checkpoint of RecBole's"),
    "no settings": (changed(lambda _, settings: settings.clear()), "No model"),
    "nan": (
        changed(lambda tensors, _: tensors["state_dict.user_embedding.weight"][3].fill_(float("nan"))),
        "not finite",
    ),
    "other users' rows": (
        changed(lambda tensors, _: mix(tensors["state_dict.user_embedding.weight"])),
        "does not know the training",
    ),
    "other items' rows": (
        changed(lambda tensors, _: mix(tensors["state_dict.item_embedding.weight"])),
        "does not know the training",
    ),
}


@pytest.mark.parametrize("what", BAD_CHECKPOINTS)
def test_bad_checkpoints_are_refused_and_not_executed(alone, tmp_path, what):
    spoil, message = BAD_CHECKPOINTS[what]
    spoil(alone)
    write_request_files(tmp_path)
    check_refused(alone, [f"--forget_file={GOOD}"], message, tmp_path)
    assert not os.path.exists("executed") and not os.path.exists(service.store_folder(alone))


def test_damaged_bytes_are_refused_or_harmless(alone):
    """Whatever bit of a checkpoint is wrong: one line and no traceback, or a checkpoint that can be read."""
    whole, generator = alone.read_bytes(), random.Random(0)
    outcomes = set()
    for _ in range(30):
        content = bytearray(whole)
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        alone.write_bytes(content)
        try:
            service.dry_run(alone, [REQUEST])
            outcomes.add("harmless")
        except UsageError as error:
            outcomes.add("refused")
            assert "\n" not in str(error)
    assert "refused" in outcomes


def instead(file):
    """A folder instead of a file, or a file instead of a folder."""
    is_folder = file.is_dir() and not file.is_symlink()
    shutil.rmtree(file) if is_folder else file.unlink()
    file.touch() if is_folder else file.mkdir()


def as_pipe(file):
    file.unlink(missing_ok=True)
    os.mkfifo(file)


FILES = ("model.safetensors", "encoder.safetensors", "data/tiny/tiny.train.inter", "data/tiny/tiny.test.inter")
SPOILS = {"missing": Path.unlink, "changed": lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x")}
DAMAGED = {
    **{
        f"{name} {how}": (lambda store, name=name, spoil=spoil: spoil(store / "versions/0001" / name), Path(name).name)
        for name in FILES
        for how, spoil in SPOILS.items()
    },
    "key missing": (lambda store: (store / "key").unlink(), "No such file or directory"),
    "key empty": (lambda store: (store / "key").write_bytes(b""), "key' has 0 bytes instead of 32"),
    "key of another store": (lambda store: (store / "key").write_bytes(bytes(32)), "is another store's"),
    "versions missing": (lambda store: shutil.rmtree(store / "versions"), "is missing or has changed|No such file"),
    "version missing": (
        lambda store: shutil.rmtree(store / "versions" / "0001"),
        "is missing or has changed|does not exist",
    ),
    "key a pipe": (lambda store: as_pipe(store / "key"), "key' is no file"),
    "lock a pipe": (lambda store: as_pipe(store / "lock"), "lock' is no file"),
    "store.db empty": (lambda store: (store / "store.db").write_bytes(b""), "store.db is damaged .* Restore the store"),
    **{
        f"{name} of another kind": (
            lambda store, name=name: instead(store / name),
            "is damaged|is missing or has changed|is no store|is a folder",
        )
        for name in (
            "key",
            "store.db",
            "versions",
            "versions/0001",
            "versions/0001/model.safetensors",
            "receipts",
            "current",
        )
    },
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_store_is_one_line(path, what, tmp_path):
    spoil, message = DAMAGED[what]
    spoil(Path(service.store_folder(path)))
    write_request_files(tmp_path)
    code, out, err = as_typed(f"--checkpoint={path}", f"--forget_file={GOOD}")
    assert (code, err.count("\n")) == (2, 1) and re.search(message, err), (code, out, err)
    assert not Path(service.store_folder(path), "versions", "0002").exists()


def test_a_retraining_that_diverges_changes_nothing(path):
    before = contents(os.path.realpath(current(path)))
    with pytest.raises(UsageError, match="Try a smaller learning rate"):
        service.unlearn(path, [REQUEST], {"learning_rate": 1e30}, exact=True)
    store = Store(service.store_folder(path))
    assert [request["status"] for request in store.requests()] == ["failed"] and len(store.versions()) == 1
    assert contents(os.path.realpath(current(path))) == before
    assert service.unlearn(path, [REQUEST], exact=True)["version"] == 2


# Disks


def limited(function):
    """A function that may write no file longer than 100 bytes."""

    @functools.wraps(function)
    def call(*arguments, **named):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            return function(*arguments, **named)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return call


@pytest.mark.parametrize(
    "module, name", [(revision, "copy_rows"), (states, "write_model"), (receipt, "write_receipts")]
)
def test_a_disk_that_is_full(path, module, name, monkeypatch):
    before, store = data_of(current(path)), Store(service.store_folder(path))
    with monkeypatch.context() as patch:
        patch.setattr(module, name, limited(getattr(module, name)))
        with pytest.raises(UsageError, match=f"^Store '{store.folder}': File too large.*Free some disk"):
            service.unlearn(path, [REQUEST])
    is_done = name == "write_receipts"
    check_version(current(path), without(before, REQUEST) if is_done else before)
    assert [request["status"] for request in store.requests()] == ["done" if is_done else "pending"]
    assert (
        is_done
        or "Free some disk" in store.requests()[0]["reason"]
        and os.listdir(Path(store.folder, "versions")) == ["0001"]
    )
    service.unlearn(path)  # which is all that it takes
    result = service.unlearn(path, [REQUEST])
    assert result["version"] == 2 and result["receipts"]["r1"]["outcome"] == "forgotten"
    check_version(current(path), without(before, REQUEST))
    assert sorted(os.listdir(Path(store.folder, "receipts"))) == ["r1.html", "r1.json"]


def test_a_disk_that_is_full_when_a_retraining_is_saved(path, monkeypatch):
    def save(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("recbole_unlearn.files.checkpoint.save", save)
        with pytest.raises(UsageError, match="No space left"):
            service.unlearn(path, [REQUEST], exact=True)
    assert len(Store(service.store_folder(path)).versions()) == 1
    assert service.unlearn(path, [REQUEST], exact=True)["version"] == 2


def test_a_disk_that_is_full_when_the_store_is_made(alone, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(states.State, "write", limited(states.State.write))
        with pytest.raises(UsageError, match="File too large.*Free some disk"):
            service.prepare(alone)
    assert os.listdir(alone.parent) == ["X.safetensors"]
    assert service.unlearn(alone, [REQUEST])["version"] == 2


def test_a_store_that_is_read_only(prepared):
    with tempfile.TemporaryDirectory() as parent:  # pytest's own folder would be closed to others
        os.chmod(parent, 0o755)
        saved = Path(parent, "saved")
        shutil.copytree(prepared.parent, saved, symlinks=True)
        places = [saved, *saved.rglob("*")]
        for place in places:
            if os.geteuid() == 0:
                os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
            if not place.is_symlink():
                place.chmod(0o555 if place.is_dir() else 0o444)
        before = contents(saved)
        assert service.verify(saved / "X.safetensors").findings == []  # loads what somebody else may not be able to
        try:
            with unprivileged():
                for exact in (False, True):
                    with pytest.raises(UsageError, match=r"^Store '.*X.store': Permission denied .*may write"):
                        service.unlearn(saved / "X.safetensors", [REQUEST], exact=exact)
                assert service.verify(saved / "X.safetensors").findings == []
                with pytest.raises(UsageError, match="Permission denied"):
                    Store.create(os.path.join(parent, "another"), pytest.fail)
        finally:
            for place in places:
                if not place.is_symlink():
                    place.chmod(0o755)
        assert contents(saved) == before


# Kills


def quietly(function, *arguments):
    """In a child."""
    torch.set_num_threads(1)  # a fork has none of its parent's threads
    logging.disable(logging.WARNING)
    return function(*arguments)


def work(path, requests):
    for request in requests:
        service.unlearn(path, [request], {"unlearn_quarantine_versions": 2})


def check_after_a_kill(path, data, requests):
    """Each request is done once or not at all; the current version and those in quarantine are whole."""
    store = Store(service.store_folder(path))
    done = {request["request_id"] for request in store.requests() if request["status"] == "done"}
    check_version(store.current().folder, without(data, *(each for each in requests if each.request_id in done)))
    counts = [store.receipt(name)["counts"] for name in done]
    assert all(each["found"] == each["rows"] for each in counts), "a second time it is not found"
    return done


def test_killed_at_any_time(path):
    data, generator = data_of(current(path)), random.Random(0)
    requests = [pairs(f"r{number}", *data["train"][number::100]) for number in range(100)]
    done, start = set(), time.perf_counter()
    work(path, requests[-1:])
    usual = time.perf_counter() - start
    for _ in range(15):
        process = fork(quietly, work, path, requests)
        time.sleep(generator.uniform(0, 3 * usual))
        process.kill()
        process.join()
        now = check_after_a_kill(path, data, requests)
        assert done <= now and Store(service.store_folder(path)).current().number <= 1 + len(now)
        done = now
    assert len(done) > 1, "All kills came before anything was done"
    rest = [request for request in requests if request.request_id not in done][:3]
    service.unlearn(path, rest)
    done = check_after_a_kill(path, data, requests)
    assert {request.request_id for request in rest} <= done
    store = Store(service.store_folder(path))
    names = {f"{place}.{ending}" for place in receipt.places(store.batches()) for ending in ("json", "html")}
    assert contents(Path(store.folder, "receipts")).keys() == names
    drift = store.current().details["drift"]
    assert drift["requests"] == len(done) and drift["interactions"] == 320 - len(data_of(current(path))["train"])
    assert service.verify(path).findings == []


def test_a_half_written_receipt_is_removed_and_a_missing_one_written(path):
    left = Path(service.prepare(path).folder, "receipts", ".123-r0.json")
    left.write_text('{"request', encoding="utf-8")
    service.unlearn(path, [REQUEST])
    written = contents(left.parent)
    assert sorted(written) == [f"{REQUEST.request_id}.{ending}" for ending in ("html", "json")]
    for name in written:
        Path(left.parent, name).unlink()
        service.unlearn(path)
        assert contents(left.parent).keys() == written.keys()


@pytest.mark.parametrize("exact", [False, True])
def test_killed_while_the_store_is_made_or_a_model_trained(alone, exact):
    generator, data = random.Random(1), None
    for _ in range(4):
        process = fork(quietly, service.unlearn, alone, [REQUEST], None, exact)
        time.sleep(generator.uniform(0.02, 0.4))
        process.kill()
        process.join()
        if os.path.exists(service.store_folder(alone)):
            data = data or data_of(Path(service.store_folder(alone), "versions", "0001"))
            check_after_a_kill(alone, data, [REQUEST])
    assert service.unlearn(alone, [REQUEST])["version"] >= 2  # each retraining makes another one
    data = data_of(Path(service.store_folder(alone), "versions", "0001"))
    check_version(current(alone), without(data, REQUEST))
    assert sorted(os.listdir(alone.parent)) == ["X.safetensors", "X.store"]


# Several processes


def hold(path, request, inside, go):
    """Apply a request, and stop in the middle."""
    write = states.State.write

    def wait(*arguments):
        inside.set()
        assert go.wait(60)
        write(*arguments)

    states.State.write = wait
    quietly(service.unlearn, path, [request])


def wait_in_line(path, request, waiting):
    class Tell(logging.Handler):
        def emit(self, record):
            if "Waiting for process" in record.getMessage():
                waiting.set()

    torch.set_num_threads(1)
    logging.getLogger().addHandler(Tell())
    logging.getLogger().setLevel("INFO")
    service.unlearn(path, [request])


def test_the_second_of_two_processes_waits(path):
    data, requests = data_of(current(path)), [REQUEST, item("r2", "i23")]
    inside, go, waiting = (forking.Event() for _ in range(3))
    first = fork(hold, path, requests[0], inside, go)
    assert inside.wait(60)
    second = fork(wait_in_line, path, requests[1], waiting)
    assert waiting.wait(60)
    with pytest.raises(UsageError, match=f"is in use by process {first.pid}"):
        service.unlearn(path, [user("r3", "u3")], wait_seconds=0)
    check_version(current(path), data)
    go.set()
    for process in (first, second):
        process.join()
        assert process.exitcode == 0
    check_version(current(path), without(data, *requests))
    store = Store(service.store_folder(path))
    assert [request["request_id"] for request in store.requests()] == ["r1", "r2"]
    assert store.current().number == 3 and store.counts()["done"] == 2


def meet(path, request, barrier):
    """Begin when the other process, too, has seen that there is no store."""
    import_checkpoint = service.import_checkpoint

    def together(*arguments):
        barrier.wait(60)
        return import_checkpoint(*arguments)

    service.import_checkpoint = together
    quietly(service.unlearn, path, [request])


def test_two_processes_that_make_the_store_at_once(alone):
    requests, barrier = [REQUEST, item("r2", "i23")], forking.Barrier(2)
    processes = [fork(meet, alone, request, barrier) for request in requests]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    data = data_of(Path(service.store_folder(alone), "versions", "0001"))
    check_version(current(alone), without(data, *requests))
    assert sorted(os.listdir(alone.parent)) == ["X.safetensors", "X.store"]
