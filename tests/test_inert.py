"""Pickles are read without being run: data come back as they were, and no instruction reaches any code."""

import collections
import copyreg
import enum
import io
import os
import pickle
import pickletools
import struct
import sys
import zipfile
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_unlearn import inert
from recbole_unlearn.errors import UsageError
from recbole_unlearn.inert import Inert, columns

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
TABLE = torch.arange(12.0).reshape(3, 4)
DATA = {
    "numbers": [1, -(2**40), 2**200, 1.5, True, None, 1 + 2j],
    "texts": ["é", b"\x00\xff", bytearray(b"ab"), bytearray(), b""],
    "containers": [{"a": [1, (2, (3, ()), (4, 5, 6, 7))]}, {1, 2}, frozenset({"a"}), slice(1, None), range(5)],
    "ordered": collections.OrderedDict(b=1, a=2),
    "torch": [torch.float32, torch.device("cuda", 1), TABLE.shape],
    "scalars": [np.float32(2.5), np.int64(3), np.str_("u1")],
}
TENSORS = {
    "whole": TABLE,
    "transposed": TABLE.T,
    "part": TABLE[1:, 2],
    "scalar": torch.tensor(3.5),
    "empty": torch.empty(0, 4),
    "integers": torch.tensor([1, -2]),
    "booleans": torch.tensor([True, False]),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "bytes": torch.arange(3, dtype=torch.uint8),
    "parameter": torch.nn.Parameter(TABLE.clone()),
}
ARRAYS = {
    "whole": np.arange(6.0).reshape(2, 3),
    "by column": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    "scalar": np.array(3.0),
    "empty": np.empty((0, 3)),
    "booleans": np.array([True, False]),
    "other byte order": np.arange(3, dtype=">i4"),
    "texts": np.array(["[PAD]", "u1"]),
    "objects": np.array(["a", None, [1]], dtype=object),
    "dates": np.array(["2026-11-21"], dtype="M8[D]"),
}


class Colour(enum.Enum):
    RED = 1


class Thing:
    def __init__(self):
        self.weights = TABLE


class Rows(list):
    pass


class Settings(dict):
    pass


class Slotted:
    __slots__ = ("a",)


class Command:
    """A pickle of this makes a file when it is run."""

    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read bytes as a file, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def read(content):
        (tmp_path / "file.pth").write_bytes(content)
        return inert.load("file.pth")

    return read


def as_zip(content):
    """A pickle as the file that torch.save would put it in."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", sys.byteorder)
        archive.writestr("archive/data/0", bytes(64))
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


def saved(content, **options):
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def as_legacy(content):
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(part, 2) for part in parts) + content + pickle.dumps([], 2)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_come_back(read, protocol):
    assert read(pickle.dumps(DATA, protocol)) == DATA


@pytest.mark.parametrize("options", [{}, {"pickle_protocol": 4}, {"_use_new_zipfile_serialization": False}])
def test_plain_data_come_back_from_torch(read, options):
    assert read(saved(DATA, **options)) == DATA


def test_default_factories_are_dropped(read):
    loaded = read(pickle.dumps(collections.defaultdict(list, {1: [2]})))
    assert loaded == {1: [2]} and type(loaded) is dict


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize(
    "dump",
    [
        *[lambda tensor, protocol=protocol: pickle.dumps(tensor, protocol) for protocol in PROTOCOLS],
        saved,
        lambda tensor: saved(tensor, pickle_protocol=4),
        lambda tensor: saved(tensor, _use_new_zipfile_serialization=False),
    ],
)
def test_tensors_come_back(read, name, dump):
    tensor, loaded = TENSORS[name], read(dump(TENSORS[name]))
    assert isinstance(loaded, torch.Tensor) and loaded.dtype == tensor.dtype and torch.equal(loaded, tensor)
    assert not loaded.requires_grad


def test_tensors_of_torchs_newer_dtypes_come_back(read):
    tensor = torch.tensor([1, 2, 3], dtype=torch.uint16)
    loaded = read(saved(tensor))
    assert loaded.dtype == torch.uint16 and loaded.tolist() == [1, 2, 3]


def test_tensors_that_share_memory_share_it_again(read):
    loaded = read(saved([TABLE, TABLE[1]]))
    loaded[0][1] = -1
    assert loaded[1].tolist() == [-1] * 4


def test_a_tensor_with_attributes_is_a_tensor(read):
    tensor = TABLE.clone()
    tensor.note = Command()
    assert torch.equal(read(pickle.dumps(tensor)), TABLE)
    assert not os.path.exists("executed")


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_come_back(read, name, protocol):
    array, loaded = ARRAYS[name], read(pickle.dumps(ARRAYS[name], protocol))
    np.testing.assert_array_equal(loaded, array, strict=name != "other byte order")  # read in the machine's own


def test_objects_are_descriptions(read):
    loaded = read(pickle.dumps({"thing": Thing(), "enum": Colour.RED, "class": Thing, "function": saved}))
    thing, colour, kind, function = loaded.values()
    assert all(isinstance(value, Inert) for value in loaded.values())
    assert thing.type_name == f"{__name__}.Thing" and torch.equal(thing.state["weights"], TABLE)
    assert (colour.type_name, colour.args) == (f"{__name__}.Colour", (1,))
    assert (kind.type_name, kind.args) == (f"{__name__}.Thing", None)
    assert (function.type_name, function.args) == (f"{__name__}.saved", None)
    assert repr(thing) == f"<inert {__name__}.Thing()>"


def test_items_of_objects_are_kept(read):
    rows, settings, slotted = Rows([1, 2]), Settings(a=1, b=2), Slotted()
    rows.note, slotted.a = "x", 3
    loaded = read(pickle.dumps([rows, settings, slotted]))
    assert [each.items for each in loaded] == [[1, 2], [("a", 1), ("b", 2)], []]
    assert [each.state for each in loaded] == [{"note": "x"}, None, (None, {"a": 3})]


def test_an_object_that_holds_itself(read):
    thing, rows = Thing(), []
    thing.me, rows[:] = thing, [rows]
    loaded, row = read(pickle.dumps([thing, rows]))
    assert loaded.state["me"] is loaded and row[0] is row


def test_columns_of_a_table(read):
    table = {"user_id": np.arange(4), "rating": np.ones(4), "item_id": np.arange(4) * 2, "name": ["a", "é", "", "d"]}
    loaded = columns(read(pickle.dumps(pd.DataFrame(table))))
    assert {name: list(column) for name, column in loaded.items()} == {name: list(table[name]) for name in table}


def test_columns_of_a_part_of_a_table(read):
    frame = pd.DataFrame({"a": range(4), "user_id": list("abcd"), "item_id": np.arange(4)})
    loaded = columns(read(pickle.dumps(frame[["user_id", "item_id"]][1:3])))
    assert {name: list(column) for name, column in loaded.items()} == {"user_id": ["b", "c"], "item_id": [1, 2]}


@pytest.mark.parametrize("frame", [pd.DataFrame({"a": pd.Categorical(["x"])}), pd.DataFrame([[1, 2]])])
def test_tables_of_unknown_layout_are_refused(read, frame):
    loaded = read(pickle.dumps(frame))
    with pytest.raises(pickle.UnpicklingError, match="table of unknown layout"):
        columns(loaded)


TOUCH = b"S'touch executed'\n"
SYSTEM = b"cos\nsystem\n"
CALL = SYSTEM + b"(" + TOUCH + b"tR"  # os.system("touch executed")
ATTACKS = {
    "REDUCE": pickle.dumps(Command(), 0),
    "REDUCE of protocol 4": pickle.dumps({"a": [Command()]}, 4),
    "INST": b"(" + TOUCH + b"ios\nsystem\n.",
    "OBJ": b"(csubprocess\nPopen\n(lp0\nS'touch'\naS'executed'\nao.",
    "NEWOBJ": b"\x80\x02cbuiltins\nlist\n(cbuiltins\nmap\n(" + SYSTEM + b"(" + TOUCH + b"lt\x81tR.",
    "eval": b"cbuiltins\neval\n(S'__import__(\"os\").system(\"touch executed\")'\ntR.",
    "exec of protocol 2": b"\x80\x02c__builtin__\nexec\n(S'import os; os.system(\"touch executed\")'\ntR.",
    "getattr": b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(" + TOUCH + b"tR.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x8c\x0etouch executed\x85R.",
    "STACK_GLOBAL with dots": b"\x80\x04\x8c\x07pathlib\x8c\x11os.path.os.system\x93" + TOUCH + b"\x85R.",
    "memo": SYSTEM + b"p5\n0g5\n(" + TOUCH + b"tR.",
    "memo of a call": b"\x80\x04" + SYSTEM + b"\x94(" + TOUCH + b"t\x940h\x00h\x01R.",
    "dropped": CALL + b"0N.",
    "as a key": b"}" + CALL + b"I1\ns.",
    "__setstate__ as an attribute": b"(icollections\nUserDict\n}S'__setstate__'\n" + SYSTEM + b"sb" + TOUCH + b"b.",
    "functools": b"cfunctools\npartial\n(" + SYSTEM + TOUCH + b"tR)R.",
    "map": b"cbuiltins\nlist\n(cbuiltins\nmap\n(" + SYSTEM + b"(" + TOUCH + b"ltRtR.",
    "timeit": b"ctimeit\ntimeit\n(S'__import__(\"os\").system(\"touch executed\")'\nS'pass'\nctime\ntime\nI1\ntR.",
    "bytes of a tensor": b"ctorch.storage\n_load_from_bytes\n(cbuiltins\nbytearray\n(c_codecs\nencode\n(V"
    + CALL.decode().replace("\n", "\\u000a").encode()
    + b".\nVlatin1\ntRtRtR.",
    "default factory": b"ccollections\ndefaultdict\n(" + SYSTEM + b"tR" + TOUCH + CALL + b"s.",
    "dtype": b"cnumpy\ndtype\n(" + CALL + b"I00\nI01\ntR.",
    "array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR(I1\n" + CALL + b"NI00\n(ltb.",
    "rebuilt tensor": b"ctorch._tensor\n_rebuild_from_type_v2\n(" + SYSTEM + b"ctorch\nTensor\n(" + TOUCH + b"tNtR.",
    "parameter": b"ctorch._utils\n_rebuild_parameter_with_state\n(" + CALL + b"I00\nN}tR.",
    "extension": b"\x82\xf0(" + TOUCH + b"tR.",
    "persistent id": b"P" + b"touch executed\n.",
    "persistent id of a call": CALL + b"Q.",
    "NEWOBJ_EX": b"\x80\x04cfunctools\npartial\n(" + SYSTEM + TOUCH + b"t}\x92)R.",
    "logging configuration": b"clogging.config\ndictConfig\n(}S'version'\n" + CALL + b"stR.",
    "import of a module": b"cintruder\nanything\n.",
}


@pytest.fixture
def armed(tmp_path, monkeypatch):
    """A module that makes a file when it is imported, and an extension code for os.system."""
    (tmp_path / "intruder.py").write_text("import os\nos.system('touch executed')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    copyreg.add_extension("os", "system", 0xF0)
    yield
    copyreg.remove_extension("os", "system", 0xF0)
    copyreg._extension_cache.clear()
    sys.modules.pop("intruder", None)


@pytest.mark.parametrize("wrap", [bytes, as_zip, as_legacy], ids=["plain", "zip", "legacy"])
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_is_executed(read, armed, name, wrap):
    try:
        read(wrap(ATTACKS[name]))
    except UsageError as error:
        assert "\n" not in str(error)
    assert not os.path.exists("executed") and "intruder" not in sys.modules


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - {"persistent id"}))
def test_pickle_would_have_executed_it(tmp_path, monkeypatch, armed, name):
    monkeypatch.chdir(tmp_path)
    with suppress(Exception):  # that some run into afterwards
        getattr(pickle.loads(ATTACKS[name]), "wait", lambda: None)()
    assert os.path.exists("executed")


@pytest.mark.parametrize(
    "target", ["torch._utils\n_rebuild_tensor_v2", "torch\nSize", "collections\nOrderedDict", "recbole_unlearn.inert\nInert"]
)
@pytest.mark.parametrize("state", [b"}S'__defaults__'\nS'x'\ns", b"(N}S'__defaults__'\nS'x'\nst"])
def test_attributes_of_real_functions_are_not_set(read, target, state):
    with pytest.raises(UsageError, match="sets attributes"):
        read(b"c" + target.encode() + b"\n" + state + b"b.")
    assert torch._utils._rebuild_tensor_v2.__defaults__ == (None,)


def test_all_instructions_but_those_for_other_files_are_known():
    refused = set()
    for opcode in pickletools.opcodes:
        with suppress(Exception):  # the stack is empty
            try:
                inert._Machine({})._step(opcode.name, None)
            except pickle.UnpicklingError as error:
                refused |= {opcode.name} if "it uses" in str(error) else set()
    assert refused == {"NEXT_BUFFER", "READONLY_BUFFER"}


def nested(depth):
    return b"\x80\x02}" + b")" + b"\x85" * depth + b"Ns."


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # a place in the memo that pickle would make room for
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        b"cbuiltins\nbytearray\n(I1000000000000\ntR.",
        b"cbuiltins\nset\n(cbuiltins\nrange\n(I1000000000000\ntRtR.",
        b"ctorch\nSize\n(cbuiltins\nrange\n(I1000000000000\ntRtR.",
        nested(2 * 10**5),
        b"\x80\x02" + b"(" * 10**5 + b".",
        b"\x80\x02" + b"]" * 2 * 10**5 + b"a" * (2 * 10**5 - 1) + b".",
        b"L" + b"9" * 10**5 + b"L\n.",
    ],
)
def test_a_few_bytes_do_not_take_all_memory_or_the_stack(read, content):
    try:
        read(content)
    except UsageError as error:
        assert len(str(error)) < 300


def test_short_keys_of_tuples_are_keys(read):
    data = {("u1", ("i1", 2)): 1, frozenset({(1, 2)}): 2}
    assert read(pickle.dumps(data)) == data


def storage(size=3, shape=(3,), stride=(1,), offset=0):
    """A pickle of a tensor over the 64 bytes of the zip file's only storage."""

    class Tensor:
        def __reduce__(self):
            hooks = collections.OrderedDict()
            return torch._utils._rebuild_tensor_v2, (Reference(), offset, shape, stride, False, hooks)

    class Reference:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", torch.FloatStorage, "0", "cpu", size) if isinstance(value, Reference) else None

    stream = io.BytesIO()
    Pickler(stream, 2).dump(Tensor())
    return as_zip(stream.getvalue())


def test_a_tensor_stays_within_its_storage(read):
    assert read(storage(size=16, shape=(4, 4), stride=(4, 1))).shape == (4, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 17},
        {"size": 15},
        {"size": -1},
        {"size": 16, "shape": (17,)},
        {"size": 16, "offset": 15},
        {"size": 16, "offset": -1},
        {"size": 16, "stride": (8,)},
        {"size": 16, "stride": (-1,)},
        {"size": 16, "shape": (10**9, 10**9), "stride": (0, 0)},
    ],
)
def test_tensors_beyond_their_storage_are_refused(read, wrong):
    with pytest.raises(UsageError, match="is no pickle that can be read"):
        read(storage(**wrong))


@pytest.mark.parametrize("shape", [b"(I2\nt", b"(I0\nt", b"(I-1\nt", b"(I1000000000\nI1000000000\nt"])
@pytest.mark.parametrize("code, raw", [(b"O", b"(lNa"), (b"i8", b"c_codecs\nencode\n(V12345678\nVlatin1\ntR")])
def test_arrays_of_another_size_than_their_data_are_refused(read, code, raw, shape):
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
    dtype = b"cnumpy\ndtype\n(V" + code + b"\nI00\nI01\ntR"
    content = array + b"(I1\n" + shape + dtype + b"I00\n" + raw + b"tb."
    with pytest.raises(UsageError, match="an array's data are cut off"):
        read(content)


@pytest.mark.parametrize("dump", [pickle.dumps, saved, lambda data: saved(data, _use_new_zipfile_serialization=False)])
def test_every_cut_is_noticed(read, dump):
    whole = dump({"a": torch.arange(3), "b": [1, "text"]})
    for size in range(0, len(whole), 7):
        with pytest.raises(UsageError, match="'file.pth' is no pickle that can be read: ."):
            read(whole[:size])


@pytest.mark.parametrize("content", [b"", b"garbage", b"user_id:token\titem_id:token\n", b"N.N.", b"PK\x03\x04", b"."])
def test_other_files_are_refused(read, content):
    with pytest.raises(UsageError, match="'file.pth' is no pickle that can be read: .") as error:
        read(content)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names", [["a.npy"], ["a/data.pkl", "a/constants.pkl"], ["a/data.pkl", "b/data.pkl"], []])
def test_other_zip_files_are_refused(read, names):
    """Of numpy, of TorchScript (which torch.load would compile), of two at a time."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"N.")
    with pytest.raises(UsageError, match="zip file of another kind" if names else "is no pickle that can be read"):
        read(stream.getvalue())


def test_zip_bombs_are_refused(read):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"N0" * 10**6 + b"N.")
    with pytest.raises(UsageError, match="larger unpacked than packed"):
        read(stream.getvalue())


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UsageError, match="'gone.pth' does not exist"):
        inert.load("gone.pth")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        inert.load(str(tmp_path))
