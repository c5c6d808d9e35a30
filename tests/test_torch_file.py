"""Files of torch.save: read without running them, and not believed about sizes."""

import os
import pickle
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from test_checkpoint import Touch

from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.torch_file import Stub, name_of, nothing, read, stub


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write content with torch.save, as RecBole does in protocol 4: ``written(content)`` returns the path."""
    monkeypatch.chdir(tmp_path)

    def write(content, protocol=4):
        torch.save(content, "file.pth", pickle_protocol=protocol)
        return "file.pth"

    return write


@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_and_plain_data_are_what_they_were(written, protocol):
    table = torch.arange(12.0).view(3, 4)
    plain = {"none": None, "true": True, "n": -7, "big": 2**40, "x": 0.25, "name": "\u00e4", "list": [1, (2, "c")]}
    tensors = {
        "table": table,
        "view": table[1:, ::2],
        "ids": torch.arange(5),
        "mask": torch.tensor([True, False]),
        "half": torch.ones(2).half(),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(3),
    }
    result = read(written({"plain": plain, "weights": OrderedDict(tensors), "rows": [(table[0],)]}, protocol))
    assert result["plain"] == plain and result["weights"].keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(result["weights"][name], tensor) and result["weights"][name].dtype == tensor.dtype
    assert torch.equal(result["rows"][0][0], table[0]) and read("file.pth", device="meta")["rows"][0][0].is_meta
    parameter = read(written({"weight": torch.nn.Parameter(table)}, protocol))["weight"]
    assert torch.equal(parameter, table) and not parameter.requires_grad


def test_everything_else_is_a_stub(written):
    content = {"device": torch.device("cpu"), "error": UsageError("x"), "trap": Touch(), "number": np.float64(0.5)}
    result = read(written(content), stub)
    assert {key: name_of(value) for key, value in result.items()} == {
        "device": "torch.device",
        "error": "recbole_unlearn.errors.UsageError",
        "trap": f"{open.__module__}.open",
        "number": "numpy._core.multiarray.scalar",
    }
    assert result["trap"].args == ("executed", "w") and not os.path.exists("executed")
    with pytest.raises(UsageError, match=f"it holds more than tensors and plain data: {open.__module__}.open"):
        read(written({"trap": Touch()}))


class Build:
    """Pickled as a class that is to get an attribute."""

    def __init__(self, target, state):
        self.target, self.state = target, state

    def __reduce__(self):
        return self.target, ("x",), self.state


def test_nothing_outside_of_a_file_is_changed_by_it(written):
    (error,) = read(written([Build(UsageError, {"__doc__": "changed"})]), stub)
    assert isinstance(error, Stub) and error.state == {"__doc__": "changed"} and UsageError.__doc__ != "changed"


def test_functions_that_a_file_names_are_its_own(written):
    """A pickle may give attributes to what it names."""
    path = written({})
    pickled(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\0\0\0aK\x01sb.")(path)
    assert read(path).a == 1 and not hasattr(torch._utils._rebuild_tensor_v2, "a")
    read(written({"weight": torch.ones(2)}))
    pickled(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n.")(path)
    assert not hasattr(read(path), "a")


def rewritten(change=lambda parts: None, compression=zipfile.ZIP_STORED):
    """The archive once more, with other parts."""

    def spoil(path):
        with zipfile.ZipFile(path) as archive:
            parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        change(parts)
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)

    return spoil


def twice(path):
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("file/data/0", b"12345678")


def overlapping(path):
    """Two names for one place, as archives have that unpack to more than they are."""
    with zipfile.ZipFile(path, "a") as archive:
        large = max(archive.infolist(), key=lambda entry: entry.file_size)
        archive.writestr("file/data/1", b"")
        again = archive.getinfo("file/data/1")
        again.header_offset, again.file_size = large.header_offset, large.file_size
        again.compress_size, again.CRC = large.compress_size, large.CRC


def flipped(path):
    content = bytearray(Path(path).read_bytes())
    content[content.index(b"\0\0\x80?" * 4)] ^= 1
    Path(path).write_bytes(content)


def pickled(content):
    return rewritten(lambda parts: parts.update({"file/data.pkl": content}))


NESTED = b"\x80\x02" + b")" + b"\x85" * 20_000 + b"."
SHAPES = {
    "compressed": (rewritten(compression=zipfile.ZIP_DEFLATED), "its parts are compressed"),
    "twice": (twice, "two parts of one name"),
    "overlapping": (overlapping, "its parts are longer than the file"),
    "flipped": (flipped, "damaged \\(file/data/0\\)"),
    "cut": (
        lambda path: Path(path).write_bytes(Path(path).read_bytes()[:-300]),
        "it is damaged: restore it from a copy",
    ),
    "text": (lambda path: Path(path).write_text("no checkpoint"), "not a file of torch.save since torch 1.6"),
    "empty": (lambda path: Path(path).write_bytes(b""), "not a file of torch.save since torch 1.6"),
    "legacy": (
        lambda path: torch.save({}, path, _use_new_zipfile_serialization=False),
        "not a file of torch.save since torch 1.6",
    ),
    "other zip": (rewritten(lambda parts: parts.pop("file/data.pkl")), "zip file of something else"),
    "short part": (
        rewritten(lambda parts: parts.update({"file/data/0": b"1234"})),
        "a tensor of 4000 numbers has a part of 4 bytes",
    ),
    "no part": (rewritten(lambda parts: parts.pop("file/data/0")), "it is damaged"),
    "big endian": (rewritten(lambda parts: parts.update({"file/byteorder": b"big"})), "another order of bytes"),
    "no pickle": (pickled(b"\x80\x02N"), "it is damaged"),
    "place": (pickled(b"\x80\x02Nr\xff\xff\x0f\x00."), "a place beyond its end"),
    "long bytes": (pickled(b"\x80\x05\x96\x00\x00\x00\x01\x00\x00\x00\x00."), "it is damaged"),
    "many lists": (pickled(b"\x80\x02(" + b"]" * 20_000 + b"l."), "its pickle makes 20002 objects of 20005 bytes"),
    "deep tuples": (pickled(NESTED), "its pickle makes 20000 objects"),
    "extension": (pickled(b"\x80\x02\x82\x01."), "names classes by numbers"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_files_that_are_not_what_they_say_are_refused(written, shape):
    path = written({"weight": torch.ones(1000, 4)})
    spoil, message = SHAPES[shape]
    spoil(path)
    for find in (stub, nothing):
        with pytest.raises(UsageError, match=message) as error:
            read(path, find)
        assert "\n" not in str(error.value)


def test_tensors_larger_than_their_numbers_are_refused(written):
    path = written({"weight": torch.zeros(1).expand(1000, 1000)})
    with pytest.raises(UsageError, match="a tensor of shape \\(1000, 1000\\) is larger than what the file holds of it"):
        read(path)


def test_any_pickle_ends_in_a_result_or_one_line(written):
    """Random bytes in the place of some of a pickle's."""
    path = written({"config": UsageError("x"), "state_dict": {"weight": torch.ones(3)}})
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(path) as archive:
        whole = archive.read("file/data.pkl")
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        for place in generator.integers(2, len(content), 1 + generator.integers(3)):
            content[place] = generator.integers(256)
        pickled(bytes(content))(path)
        try:
            read(path, stub)
        except UsageError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 100 < refused <= 300


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "gone.pth"))
    with pytest.raises(OSError):
        read(str(tmp_path))


def test_pickles_of_torch_are_small(written):
    """The bound on a pickle's objects has room for the largest of ours: a million tokens, as they were saved before."""
    path = written({"user_tokens": [f"user-{n}" for n in range(100_000)]}, protocol=2)
    with zipfile.ZipFile(path) as archive:
        content = archive.read("file/data.pkl")
    n_marks = sum(operation.name == "MARK" for operation, *_ in pickletools.genops(content))
    assert n_marks < len(content) // 2000
    assert len(read(path)["user_tokens"]) == 100_000
    assert pickle.loads(content)
