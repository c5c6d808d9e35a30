"""Receipts are signed and chained: a changed, removed or foreign one is told from the public key alone."""

import hashlib
import json
import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from served import as_typed, contents, pairs, train, user
from test_store import fork

from recbole_unlearn.deletion import handover, service
from recbole_unlearn.deletion.receipt import chain


@pytest.fixture(scope="module")
def done(tmp_path_factory, data_path):
    """A store with a request alone, a batch, a request for nobody, and a sink that was written later."""
    path = train(tmp_path_factory.mktemp("done"), data_path)
    service.unlearn(str(path), [user("r1", "u17")])
    service.unlearn(str(path), [pairs("r2", ("u0", "i3")), pairs("r3", ("u1", "i4"), ("u1", "i5"))], force=True)
    service.unlearn(str(path), [user("r4", "nobody")])
    service.unlearn(str(path), (), {"unlearn_sinks": "lists"})
    return path


@pytest.fixture
def path(done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(done.parent, tmp_path / "saved", symlinks=True) / done.name


@pytest.fixture
def store(path):
    return Path(service.store_folder(path))


def public(store):
    return store / "signing_key.pub.pem"


def receipts(store):
    """The JSON files in the order of the chain."""
    files = (store / "receipts").rglob("*.json")
    return sorted(files, key=lambda file: json.loads(file.read_text())["chain"]["number"])


def verified(*arguments):
    code, out, err = as_typed("receipt", "verify", *arguments)
    assert err == ""
    return code, out.splitlines()


def test_all_of_a_store_are_genuine_and_in_order(store):
    code, lines = verified(f"--store={store}", f"--key={public(store)}")
    assert code == 0 and [line.rpartition(": ")[2] for line in lines] == [
        "number 1 of the chain, the first",
        "number 2 of the chain, after number 1",
        "number 3 of the chain, after number 2",
        "number 4 of the chain, after number 3",
    ]
    files = receipts(store)
    assert [str(file.relative_to(store / "receipts")) for file in files] == [
        *("r1.json", "batches/0002.json", "r4.json", "batches/0004.json")
    ]
    assert stat.S_IMODE((store / "signing_key.pem").stat().st_mode) == 0o600
    assert service.verify(str(store.with_suffix(".safetensors"))).is_clean()
    pages = [(store / "receipts" / name).read_text() for name in ("r1.html", "batches/0002.html")]
    assert all(json.loads(files[0].read_text())["signature"]["public_key"] in page for page in pages)


def test_anybody_can_check_a_signature_as_the_page_says(store):
    """Without this package's code: the bytes, the hash of the file before, and the key."""
    raw = serialization.load_pem_public_key(public(store).read_bytes())
    before = None
    for file in receipts(store):
        receipt = json.loads(file.read_text())
        signature = receipt.pop("signature")
        text = json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("utf-8")
        raw.verify(bytes.fromhex(signature["value"]), text)
        assert receipt["chain"]["previous"] == before and isinstance(raw, Ed25519PublicKey)
        before = hashlib.sha256(file.read_bytes()).hexdigest()


def test_some_receipts_are_checked_without_the_store(store, tmp_path):
    files = [shutil.copy(file, tmp_path / f"{number}.json") for number, file in enumerate(receipts(store), 1)]
    key = shutil.copy(public(store), tmp_path / "key.pem")
    code, lines = verified(files[2], files[1], f"--key={key}")
    assert code == 0 and lines == [
        f"{files[2]}: genuine: number 3 of the chain, after number 2",
        f"{files[1]}: genuine: number 2 of the chain, after number 1, which is not given",
    ]


def resigned(change):
    """A receipt changed and signed by somebody else, who names the store's key as theirs."""

    def spoil(file, store):
        receipt = json.loads(file.read_text())
        signature = receipt.pop("signature")
        change(receipt)
        text = json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode()
        signature["value"] = Ed25519PrivateKey.generate().sign(text).hex()
        file.write_text(json.dumps({**receipt, "signature": signature}))

    return spoil


def edited(old, new):
    return lambda file, store: file.write_text(file.read_text().replace(old, new, 1))


def unsigned(file, store):
    receipt = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in receipt.items() if name != "signature"}))


SPOILED = {
    "a word": (edited("not found", "forgotten"), "changed since it was signed"),
    "a name twice": (edited('"method":', '"outcome": "denied", "outcome": "forgotten", "method":'), "no JSON"),
    "no number": (edited('"dataset":', '"other": NaN, "dataset":'), "no JSON of a receipt"),
    "deep": (lambda file, store: file.write_text("[" * 200_000), "no JSON of a receipt"),
    "a list": (lambda file, store: file.write_text("[]"), "no JSON of a receipt"),
    "not text": (lambda file, store: file.write_bytes(b"\xff\xfe\x00"), "no JSON of a receipt"),
    "its signature removed": (unsigned, "not signed"),
    "its signature malformed": (edited('"value": "', '"value": "xyz'), "its signature is malformed"),
    "another algorithm": (edited("Ed25519", "none"), "signed with another algorithm"),
    "signed by another": (resigned(lambda receipt: receipt.update(dataset="x")), "changed since it was signed"),
    "another in its place": (lambda file, store: shutil.copy(receipts(store)[0], file), "number 1 of the chain where"),
    "missing": (lambda file, store: file.unlink(), "missing"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_is_not_genuine_is_told(store, what):
    spoil, said = SPOILED[what]
    file = store / "receipts" / "r4.json"
    if what == "missing":
        file = receipts(store)[-1]
    keys = [serialization.load_pem_public_key(public(store).read_bytes())]
    paths = chain.files_of(service.prepare(str(store.with_suffix(".safetensors"))))
    spoil(file, store)
    found = {path: (line, genuine) for path, line, genuine in chain.verify(paths, keys, whole=True)}
    line, genuine = found[str(file)]
    assert not genuine and said in line and "\n" not in line
    assert all(genuine for path, (_, genuine) in found.items() if path < str(file) and path.endswith("r1.json"))


def test_a_receipt_signed_with_the_key_but_out_of_the_chain_is_told(store):
    """Its owner might exchange one afterwards: the next one has the hash of the file that was there."""
    file = receipts(store)[1]
    receipt = json.loads(file.read_text())
    key = serialization.load_pem_private_key((store / "signing_key.pem").read_bytes(), None)
    receipt["dataset"] = "another"
    del receipt["signature"]
    text = json.dumps(receipt, sort_keys=True, separators=(",", ":")).encode()
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()
    receipt["signature"] = {"algorithm": "Ed25519", "public_key": raw, "value": key.sign(text).hex()}
    file.write_text(json.dumps(receipt))
    code, lines = verified(f"--store={store}", f"--key={public(store)}")
    assert code == 1 and "genuine" in lines[1] and "does not follow the receipt number 2" in lines[2]


def test_another_key_proves_nothing(store, tmp_path):
    other = Ed25519PrivateKey.generate().public_key()
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "other.pem").write_bytes(other.public_bytes(*form))
    code, lines = verified(receipts(store)[0], f"--key={tmp_path / 'other.pem'}")
    assert code == 1 and lines[0].endswith("signed with another key, or changed")
    code, _ = verified(receipts(store)[0], f"--key='{tmp_path / 'other.pem'}' '{public(store)}'")
    assert code == 0, "any of the keys"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--key=nothing.pem", "r.json"], "'nothing.pem' cannot be read as a key"),
        (["--key=text.pem", "r.json"], "'text.pem' is no key in PEM"),
        (["--key=text.pem"], "Name receipts, or all of a store's"),
        (["--key=text.pem", "--store=.", "r.json"], "Name receipts, or all of a store's"),
        (["r.json"], "--key"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("text.pem").write_text("no key")
    code, out, err = as_typed("receipt", "verify", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err


def test_receipts_of_a_killed_call_are_sealed_by_the_next(path, store, monkeypatch):
    before = contents(store / "receipts")

    def die(*_):
        raise SystemExit(9)

    def killed():
        monkeypatch.setattr(handover, "seal", die)
        service.unlearn(str(path), [user("r5", "u20")])

    process = fork(killed)
    process.join()
    assert process.exitcode == 9 and contents(store / "receipts") == before, "no receipt before it is sealed"
    assert service.verify(str(path)).is_clean() is False, "what the sink wrote is of the version before"
    service.unlearn(str(path), [user("r6", "u21")])
    code, lines = verified(f"--store={store}", f"--key={public(store)}")
    assert code == 0 and len(lines) == 6


def test_a_lost_receipt_is_written_again_as_it_was(path, store):
    before = contents(store / "receipts")
    for name in ("r1.json", "batches/0002.json", "batches/0004.json"):
        (store / "receipts" / name).unlink()
    service.unlearn(str(path))
    after = contents(store / "receipts")
    assert {name: text for name, text in after.items() if name.endswith(".json")} == {
        name: text for name, text in before.items() if name.endswith(".json")
    }


def test_a_key_of_ones_own_signs(path, store, tmp_path):
    key = Ed25519PrivateKey.generate()
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "own.pem").write_bytes(key.private_bytes(*form))
    first = shutil.copy(public(store), tmp_path / "first.pem")
    service.unlearn(str(path), [user("r5", "u20")], {"unlearn_signing_key": str(tmp_path / "own.pem")})
    code, lines = verified(f"--store={store}", f"--key={public(store)}")
    assert code == 1 and lines[-1].endswith("genuine: number 5 of the chain, after number 4, which is not given")
    assert verified(f"--store={store}", f"--key={public(store)} {first}")[0] == 0
    (kept,) = store.glob("signing_key.pub.pem.*")
    assert kept.read_bytes() == first.read_bytes()


def test_receipts_of_an_earlier_release_are_not_signed(path, store):
    """And what is done from now on is."""
    opened = service.prepare(str(path))
    with opened.locked(0):
        parts = {number: part for number, part in opened.parts()}
        sealed = ("sinks", "chain", "signature")
        opened.seal({number: {k: v for k, v in part.items() if k not in sealed} for number, part in parts.items()})
    for file in (store / "receipts").rglob("*.*"):
        file.unlink()
    service.unlearn(str(path), [user("r5", "u20")])
    page = (store / "receipts" / "r1.html").read_text()
    assert "not signed" in page and "not signed" not in (store / "receipts" / "r5.html").read_text()
    code, lines = verified(f"--store={store}", f"--key={public(store)}")
    said = [line.rpartition(": ")[2] for line in lines]
    assert code == 1 and said == ["not signed"] * 4 + ["number 1 of the chain, the first"]
