"""Sixty ways in which something forgotten can be left in a file: each must be found, or be listed as not searched."""

import base64
import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile
import zlib

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save as save_tensors

USER, ITEM = "ana-17", "disc.23"  # forgotten as a pair; and the user as a whole
OTHERS = [("bo-1", "disc.4"), ("cy-2", "disc.5")]
ROWS = [OTHERS[0], (USER, ITEM), OTHERS[1]]
FRAME = pd.DataFrame(ROWS, columns=["user_id", "item_id"])
RECORDS = [{"who": {"id": user}, "what": [{"id": item, "stars": 3}]} for user, item in ROWS]


def lines(separator="\t", header=None, rows=ROWS):
    return "\n".join(separator.join(row) for row in ([header] if header else []) + list(rows)) + "\n"


def of(library, *args, **settings):
    """What a library writes to a stream."""
    stream = io.BytesIO()
    library(stream, *args, **settings)
    return stream.getvalue()


def zipped(*members, **settings):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **settings) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(mode="w"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        entry = tarfile.TarInfo("deep/rows.txt")
        entry.size = len(lines())
        archive.addfile(entry, io.BytesIO(lines().encode()))
    return stream.getvalue()


def database(create, rows, values="?, ?"):
    with sqlite3.connect(":memory:") as db:
        db.execute(create)
        db.executemany(f"INSERT INTO t VALUES ({values})", rows)
        db.commit()
        return db.serialize()


def deleted_rows():
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE t (a, b)")
        db.executemany("INSERT INTO t VALUES (?, ?)", ROWS * 500)
        db.commit()
        db.execute("DROP TABLE t")
        db.commit()
        return db.serialize()


def arrow(frame, writer, **settings):
    sink = pyarrow.BufferOutputStream()
    writer(pyarrow.Table.from_pandas(frame), sink, **settings)
    return sink.getvalue().to_pybytes()


def png(user="no-one", packed=False, extra=b""):
    texts = PngInfo()
    texts.add_text("Comment", f"of {user}", zip=packed)
    return of(Image.new("L", (1, 1)).save, format="png", pnginfo=texts) + extra


def torch_file(content, **settings):
    stream = io.BytesIO()
    torch.save(content, stream, **settings)
    return stream.getvalue()


HTML = (
    "<html><body><table>\n"
    + "".join(f"<tr>\n <td>{u}</td>\n <td>{i}</td>\n</tr>\n" for u, i in ROWS)
    + "</table></body></html>"
)
XML = "<rows>" + "".join(f"\n<row>\n<u>{u}</u>\n<i>{i}</i>\n</row>" for u, i in ROWS) + "\n</rows>"
YAML = "".join(f"- who: {user}\n  what: {item}\n" for user, item in ROWS)
LOG = f"2026-11-20 12:17:05 INFO scored user={USER} item={ITEM}: 0.17\n"
ESCAPED = "".join(f"\\u{ord(letter):04x}" for letter in USER)

# a pair, which only those find who see both on one line or in one record
PAIRS = {
    "rows.inter": lines(header=("user_id:token", "item_id:token")),
    "swapped.inter": lines(header=("item_id:token", "user_id:token"), rows=[row[::-1] for row in ROWS]),
    "names.inter": lines(header=("uid:token", "iid:token")),
    "headerless.csv": lines(","),
    "semicolons.csv": lines(";", ("user", "item")),
    "bars.data": lines("|"),
    "spaces.txt": lines(" "),
    "doubled-colons.dat": lines("::"),
    "quoted.csv": "".join(f'"{user}","{item}"\n' for user, item in ROWS),
    "one-known-column.csv": lines(",", ("user_id", "movie")),
    "other-column.csv": "user_id,item_id,note\n" + f"bo-1,disc.4,as {USER} did with {ITEM}\n",
    "long-rows.csv": "user_id,item_id\n" + f"bo-1,disc.4,{USER},{ITEM}\n",
    "open-quote.csv": 'user_id,item_id,title\nbo-1,disc.4,"an open quote\n' + f"{USER},{ITEM},x\n",
    "sequence.inter": f"user_id:token\titem_id_list:token_seq\titem_id:token\n{USER}\tdisc.4 {ITEM}\tdisc.5\n",
    "windows.csv": lines(",").replace("\n", "\r\n"),
    "macintosh.txt": lines(",").replace("\n", "\r"),
    "marked.csv": "\ufeff" + lines(",", ("user_id", "item_id")),
    "run.log": LOG,
    "no-ending": lines(),
    "picture.png": lines(),
    "page.html": HTML,
    "rows.xml": XML,
    "settings.yaml": YAML,
    "object.json": json.dumps({"rows": RECORDS}, indent=1),
    "map.json": json.dumps({user: [item] for user, item in ROWS}),
    "columns.json": FRAME.to_json(),
    "split.json": FRAME.to_json(orient="split"),
    "nested.jsonl": "\n".join(map(json.dumps, RECORDS)),
    "known.jsonl": "\n".join(json.dumps(dict(zip(("user_id", "item_id"), row))) for row in ROWS),
    "utf-16.txt": lines().encode("utf-16"),
    "utf-16-le.csv": lines(",").encode("utf-16-le"),
    "utf-16-be.csv": lines(",").encode("utf-16-be"),
    "utf-32.txt": lines().encode("utf-32"),
    "latin.txt": ("caf\xe9\n" + lines()).encode("latin-1"),
    "rows.txt.gz": gzip.compress(lines().encode()),
    "settings.yaml.gz": gzip.compress(YAML.encode()),
    "twice.gz": gzip.compress(gzip.compress(lines().encode())),
    "rows.bz2": bz2.compress(lines().encode()),
    "rows.xz": lzma.compress(lines().encode()),
    "rows.zst": pyarrow.compress(lines().encode(), codec="zstd", asbytes=True),
    "rows.z": zlib.compress(lines().encode()),
    "rows.zip": zipped(("a/rows.csv", lines(","))),
    "zip-in-zip.zip": zipped(("inner.zip", zipped(("rows.csv", lines(","))))),
    "rows.tar": tarred(),
    "rows.tgz": tarred("w:gz"),
    "rows.parquet": arrow(FRAME, pyarrow.parquet.write_table),
    "rows.feather": arrow(FRAME.rename(columns={"user_id": "a", "item_id": "b"}), pyarrow.feather.write_feather),
    "rows.npy": of(np.save, np.array(ROWS)),
    "columns.npz": of(np.savez, pairs=np.array(ROWS)),
    "rows.db": database("CREATE TABLE t (user_id, item_id)", ROWS),
    "blobs.sqlite": database("CREATE TABLE t (a BLOB)", [(gzip.compress(lines().encode()),)], "?"),
}  # fmt: skip
# a user, as a whole
USERS = {
    "sentence.txt": f"Please delete {USER}.",
    "path.txt": f"/users/{USER}/profile",
    "escaped.json": '{"note": "' + ESCAPED + '"}',
    "percent.txt": "https://shop/?u=" + "".join(f"%{ord(letter):02x}" for letter in USER),
    "entities.html": "<p>" + "".join(f"&#{ord(letter)};" for letter in USER) + "</p>",
    "base64.txt": "id " + base64.b64encode(USER.encode()).decode(),
    "key.json": json.dumps({"embeddings": {USER: [0.1]}}),
    "comment.yaml": f"epochs: 3  # not for {USER}\n",
    "image.png": png(USER),
    "packed.png": png(USER, packed=True),
    f"export-{USER}.csv": "a,b\n",
    "named.zip": zipped((f"{USER}.txt", "x")),
    "tensor-name.safetensors": save_tensors({f"row.{USER}": np.zeros(3, np.int32)}),
    "bytes.safetensors": save_tensors({"names": np.frombuffer(f"bo-1\0{USER}\0".encode(), np.uint8)}),
    "words.bin": b"\x01\x02\xff" + USER.encode() + b"\x00\x03",
    "words-utf-16.bin": b"\x01\x02\xff\x01" + USER.encode("utf-16-le") + b"\x03\x03",
    "schema.db": database(f'CREATE TABLE t ("{USER}", b)', []),
}
# what nobody can tell from outside: listed as not searched, or found as it is
OPAQUE = {
    "list.pkl": pickle.dumps(ROWS),
    "list-of-text.pickle": pickle.dumps(ROWS, protocol=0),
    "nameless-pickle": pickle.dumps(ROWS),
    "textual-pickle.txt": pickle.dumps(ROWS, protocol=0),
    "objects.npy": of(np.save, np.array(ROWS + [3], dtype=object), allow_pickle=True),
    "module.pth": torch_file(torch.nn.Embedding(3, 2)),
    "words.pth": torch_file({"note": f"without {USER}"}),
    "resumed.pth.resume": torch_file({"state_dict": {"weight": torch.ones(3, 2)}, "epoch": 3}),
    "optimiser.pth": torch_file({"optimizer": {"state": {0: {"exp_avg": torch.ones(3, 2)}}}}),
    "table.pt": torch_file(torch.ones(3, 2)),
    "table.safetensors": save_tensors({"table": np.ones((3, 2), np.float32)}),
    "table.npy": of(np.save, np.ones((3, 2))),
    "ids.pth": torch_file({"user_id": torch.arange(3), "item_id": torch.arange(3)}),
    "table.xlsx": zipped(("[Content_Types].xml", "<Types/>"), ("xl/sharedStrings.xml", "<sst/>")),
    "noise.bin": bytes(range(256)) * 9,
    "cut.gz": gzip.compress(lines().encode())[:-9],
    "cut.zip": zipped(("a.txt", lines()))[:-9],
    "after.png": png(extra=lines().encode()),
    "deleted.db": deleted_rows(),
    "ebcdic.txt": lines().encode("cp037"),
}
# the same formats, without anything forgotten
CLEAN = {
    "rows.inter": lines(header=("user_id:token", "item_id:token"), rows=OTHERS),
    "crossed.inter": lines(header=("user_id:token", "item_id:token"), rows=[("bo-1", ITEM), *OTHERS]),
    "rows.csv": lines(",", rows=OTHERS),
    "run.log": LOG.replace(USER, "bo-1"),
    "rows.jsonl": "\n".join(json.dumps({"user": user, "item": item}) for user, item in [("bo-1", ITEM), *OTHERS]),
    "rows.json": json.dumps([{"user": user, "item": item} for user, item in [("bo-1", ITEM), *OTHERS]]),
    "settings.yaml": "- who: bo-1\n  what: disc.4\n",
    "page.html": HTML.replace(USER, "bo-1"),
    "utf-16.txt": lines(rows=OTHERS).encode("utf-16"),
    "rows.gz": gzip.compress(lines(rows=OTHERS).encode()),
    "rows.zip": zipped(("a.csv", lines(",", rows=OTHERS))),
    "rows.parquet": arrow(FRAME.drop(index=1), pyarrow.parquet.write_table),
    "rows.npz": of(np.savez, rows=np.array(OTHERS)),
    "rows.db": database("CREATE TABLE t (a, b)", OTHERS),
    "image.png": png(),
    "empty.txt": "",
}
