"""Verification of a store: what is left anywhere is found, what nobody can read is said, and what is clean is clean."""

import os
import re
import shutil
from pathlib import Path

import leftovers
import pytest
import torch
from conftest import tiny_rows, write_atomic
from served import as_typed, contents, data_of, item, pairs, train, user

from recbole_unlearn.deletion import service
from recbole_unlearn.model_file import read_content, write_content

PAIR = ("u0", "i3")  # of the training data
HIDDEN = (leftovers.USER, leftovers.ITEM)  # of no data
ROWS = "user_id,item_id\nu17,i4\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory, data_path):
    """A checkpoint whose store has forgotten a user, an item and pairs."""
    folder = tmp_path_factory.mktemp("served")
    path = folder / "saved" / "X.safetensors"
    path.parent.mkdir()
    shutil.copy(train(tmp_path_factory.mktemp("trained"), data_path), path)
    service.prepare(path)
    assert PAIR in data_of(Path(service.store_folder(path), "current"))["train"]
    service.unlearn(path, [user("r1", "u17"), item("r2", "i23"), pairs("r3", PAIR, HIDDEN)])
    service.unlearn(path, [user("r4", leftovers.USER)])  # alone, and not found
    return path


@pytest.fixture
def path(served, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(served.parent, tmp_path / "saved", symlinks=True), served.name)


def current(path):
    return Path(service.store_folder(path), "versions", "0002")


def test_nothing_is_left(path):
    before = contents(path.parent)
    code, out, err = as_typed(f"--checkpoint={path}", "--verify")
    assert (code, err) == (0, "") and re.search(r"0001: in quarantine until \d{4}", out)
    assert re.search(r"\d\d files searched and clean, 0 places .* 0 files not searched, 0 waived\n$", out)
    assert contents(path.parent) == before
    result = service.verify(path)
    names = {os.path.relpath(file, current(path)) for file, _ in result.files if file.startswith(str(current(path)))}
    assert result.is_clean() and names == set(service.prepare(path).current().files)
    beside = service.verify(path, also=[path.parent])
    assert {finding.file for finding in beside.findings} == {str(path)} and not beside.not_searched, (
        "the store is not searched twice"
    )


def test_numbers_of_a_store_are_not_taken_for_tokens(tmp_path, monkeypatch):
    """Every small number is forgotten as a user, and stands somewhere in a store: as a version, a count, a setting."""
    rows = [(user[1:], item[1:]) for user, item in tiny_rows() for _ in range(1 + (user == "u3"))]
    write_atomic(tmp_path / "data" / "tiny" / "tiny.inter", rows)
    path = train(tmp_path, str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    service.unlearn(path, [user(f"r{number}", str(number)) for number in range(3, 12)], force=True)
    service.unlearn(path, [pairs("one", ("20", rows[200][1]), ("64", "64"), ("2020", "8"))], force=True)
    result = service.verify(path)
    assert result.is_clean(), (result.findings, result.not_searched)
    write("../../receipts/note.txt", "4,7\n")(current(path))
    assert [finding.sure for finding in service.verify(path).findings] == [False], "in a text it may be one"


@pytest.mark.parametrize("ending", ["json", "html"])
def test_a_receipt_that_somebody_changed_is_reported(path, ending):
    """It names nobody, but it is not what the database says; without it, the next call writes it anew."""
    service.unlearn(path, [user("alone", "u29")])
    file = Path(service.store_folder(path), "receipts", f"alone.{ending}")
    file.write_text(file.read_text().replace("forgotten", "forgiven"))
    findings = service.verify(path).findings
    assert [(finding.file, finding.sure) for finding in findings] == [(str(file), False)]
    assert "not what was written" in findings[0].place
    file.unlink()
    service.unlearn(path)
    assert service.verify(path).is_clean() and "forgotten" in file.read_text()


def test_requests_that_are_not_done_are_left(path):
    store = service.prepare(path)
    with store.locked(0):
        store.submit([user("r9", "u18")])
        store.mark(["r9"], "failed", "no luck")
        store.submit([user("r10", "u19")])
    code, out, _ = as_typed(f"--checkpoint={path}", "--verify")
    assert code == 1 and "store.db: 1 unfinished requests\n" in out and "u18" not in out
    assert "store.db: 1 failed requests: submit them again, or use --force or --exact\n" in out


def test_no_store(path):
    shutil.rmtree(service.store_folder(path))
    code, out, err = as_typed(f"--checkpoint={path}", "--verify")
    assert (code, out, err.count("\n")) == (2, "", 1) and "has no store yet" in err and "--prepare" in err


def row(part, *row):
    def plant(folder):
        with open(folder / "data" / "tiny" / f"tiny.{part}.inter", "a") as file:
            file.write("\t".join(row) + "\n")

    return plant


def state(change):
    def plant(folder):
        content = read_content(folder / "model.safetensors")
        change(content)
        write_content(folder / "model.safetensors", content)

    return plant


def first_token(content):
    content["user_tokens"][content["user_tokens"].index(None)] = "u17"


def first_edge(content):
    ends = content["user_tokens"].index(PAIR[0]), content["item_tokens"].index(PAIR[1])
    content["edges"] = torch.cat([content["edges"], torch.tensor(ends, dtype=torch.int32)[:, None]], dim=1)


def own_row(content):
    content["state_dict"]["user_embedding.weight"][content["user_tokens"].index(None)] += 1


def setting(content):
    content["config"]["note"] = "as u17 wished"


def flip(name):
    def plant(folder):
        content = bytearray((folder / name).read_bytes())
        content[-3] ^= 1
        (folder / name).write_bytes(content)

    return plant


def write(name, content=ROWS):
    """Plant a file at a place relative to the current version."""

    def plant(folder):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content) if isinstance(content, str) else place.write_bytes(content)

    return plant


def add_to_page(folder):
    page = folder / "../../receipts/r4.html"
    page.write_text(page.read_text().replace("</main>", "<p>u17</p></main>"))


TRAIN, MODEL = "data/tiny/tiny.train.inter", "model.safetensors"
IN_STORE = {  # how to plant something in the store, the file that is named, and what is said of it
    "user's row": (row("train", "u17", "i4"), TRAIN, "row"),
    "item's row": (row("train", "u5", "i23"), TRAIN, "row"),
    "pair": (row("train", *PAIR), TRAIN, "row"),
    "held-out row": (row("test", "u17", "i4"), "data/tiny/tiny.test.inter", "row"),
    "token": (state(first_token), MODEL, "tokens"),
    "edge": (state(first_edge), MODEL, "edges"),
    "own row": (state(own_row), MODEL, "rows of"),
    "setting": (state(setting), MODEL, "settings"),
    "older model": (lambda folder: shutil.copy(folder / f"../0001/{MODEL}", folder / "old.pth"), "old.pth", "tokens"),
    "flipped bit of rows": (flip(TRAIN), TRAIN, "missing or changed"),
    "flipped bit of the encoder": (flip("encoder.safetensors"), "encoder.safetensors", "missing or changed"),
    "missing encoder": (lambda folder: (folder / "encoder.safetensors").unlink(), "encoder.safetensors", "missing"),
    "missing rows": (lambda folder: (folder / "data/tiny/tiny.valid.inter").unlink(), "tiny.valid.inter", "missing"),
    "missing model": (lambda folder: (folder / MODEL).unlink(), MODEL, "missing"),
    "more than was written": (write("notes.txt", "nothing"), "notes.txt", "no file of version 2"),
    "receipt": (write("../../receipts/r.csv"), "receipts/r.csv", "row"),
    "receipt's page": (add_to_page, "receipts/r4.html", "passage"),
    "receipts of a batch": (write("../../receipts/batches/0001.html", "<p>u17</p>"), "batches/0001.html", "passage"),
    "receipt's data": (write("../../receipts/r4.json", '{"rows": ["u17"]}'), "receipts/r4.json", "record"),
    "request's id": (lambda folder: service.unlearn(folder.parents[2] / "X.safetensors", [user("u17", "u3")]), "store.db", "request"),
    "older version that nobody knows": (lambda folder: shutil.copytree(folder / "../0001", folder / "../0007"), f"0007/{MODEL}", "tokens"),
    "half a version": (write("../.building/rows.csv"), ".building/rows.csv", "row"),
    "half a store": (write("../../../.X.store-99.building/rows.csv"), ".X.store-99.building/rows.csv", "row"),
    "half a store of another host": (write("../../../.X.store-pc-9.building/r.csv"), ".X.store-pc-9.building/r.csv", "row"),
    "stray file": (write("../../old.csv"), "X.store/old.csv", "row"),
    "training under way": (write("../../work/data/a.inter", "user_id:token\titem_id:token\nu17\ti1\n"), "work/data/a.inter", "row"),
    "lock": (write("../../lock", "u17"), "X.store/lock", "line"),
    "copy of a database": (write("../../store.db.bak", leftovers.PAIRS["rows.db"]), "store.db.bak", "row of t"),
    "link to an older version": (lambda folder: os.symlink("versions/0001", folder / "../../last"), f"last/{MODEL}", "tokens"),
}  # fmt: skip


@pytest.mark.parametrize("what", IN_STORE)
def test_leftovers_in_the_store_are_found(path, what):
    plant, name, place = IN_STORE[what]
    plant(current(path))
    result = service.verify(path)
    said = [(finding.file, finding.place) for finding in result.findings] + result.not_searched
    assert any(file.endswith(name) and reason.startswith(place) for file, reason in said), said
    assert not result.is_clean()


def test_every_leftover_elsewhere_is_named(path):
    """Nothing that is planted is called clean; who waives what cannot be searched still learns what was found."""
    kinds = {**leftovers.PAIRS, **leftovers.USERS, **leftovers.OPAQUE}
    assert len(kinds) >= 60
    for number, (name, content) in enumerate(kinds.items()):
        write(Path("elsewhere", str(number), name).absolute(), content)(path)
    result = service.verify(path, also=["elsewhere"])
    named = {finding.file for finding in result.findings} | {file for file, _ in result.not_searched}
    planted = {str(file) for file in Path("elsewhere").rglob("*") if file.is_file()}
    assert planted - named == set() and len(planted) == len(kinds)
    waived = service.verify(path, also=["elsewhere"], waive=["*"])
    assert waived.not_searched == [] and len(waived.findings) >= len(leftovers.PAIRS)
    code, out, _ = as_typed(
        f"--checkpoint={path}", "--verify", "--also=elsewhere", "--waive=elsewhere/*/*.pkl gone.bin"
    )
    assert code == 1 and "waived: elsewhere" in out and "waiver 'gone.bin' matches nothing" in out
    assert not any(token in re.sub("elsewhere[^:]*:", "", out) for token in HIDDEN), "beyond the names of files"


def test_clean_files_elsewhere_are_clean(path):
    for name, content in leftovers.CLEAN.items():
        write(Path("elsewhere", name).absolute(), content)(path)
    write(Path("elsewhere", "x.bin").absolute(), bytes(range(256)))(path)
    code, out, err = as_typed(f"--checkpoint={path}", "--verify", "--also=elsewhere", "--waive=x.bin")
    assert (code, err) == (0, "") and "waived: elsewhere/x.bin: of no known format" in out
    code, out, _ = as_typed(f"--checkpoint={path}", "--verify", "--also=elsewhere")
    assert code == 1 and "not searched: elsewhere/x.bin: of no known format" in out
