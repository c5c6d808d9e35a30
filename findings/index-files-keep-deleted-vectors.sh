#!/usr/bin/env bash
# usearch, hnswlib, voyager: a deleted vector is in the saved index, to the last bit; usearch's `compact=True` leaves
# it there too
#
# Expected: `remove(key, compact=True)`, as its name says, or at least a save and a load, leaves no trace of a removed
#           vector.
# Happens:  the three libraries answer as if it were gone (usearch: not contained, length less one, not found, also
#           after a restore; hnswlib and voyager refuse to return it), and write its float32 bytes to the file
#           unchanged. In usearch, compacting removes links only. voyager's length does not even fall, and `id in
#           index` stays true. faiss rewrites the arrays of its flat and IVF indexes: there the bytes are gone.
# Versions: usearch 2.26.6, hnswlib 0.8.0, voyager 2.2.3, faiss-cpu 1.15.1, numpy 2.4.6
# Matters:  a user or item embedding that had to be erased is handed on with every copy of the index file. Only a
#           rebuild erases it.
# Output:   bytes of the deleted vector in the file: usearch True, usearch compacted True, hnswlib True, voyager True,
#           faiss Flat False, faiss IVF False; length after one deletion of 200: usearch 199, voyager 200
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet usearch==2.26.6 hnswlib==0.8.0 voyager==2.2.3 faiss-cpu==1.15.1 numpy==2.4.6
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -I -W ignore - <<'PY'
import pathlib
from importlib.metadata import version

import faiss
import hnswlib
import numpy as np
import usearch.index
import voyager

COUNT, DIMENSIONS, GONE = 200, 8, 7
vectors = np.random.default_rng(0).standard_normal((COUNT, DIMENSIONS)).astype(np.float32)
keys = np.arange(COUNT)
kept, lengths = {}, {}


def saved(name: str, save) -> None:
    """Notes whether the file that `save` writes holds the deleted vector."""
    save(name)
    kept[name] = vectors[GONE].tobytes() in pathlib.Path(name).read_bytes()


for name, compact in (("usearch", False), ("usearch compacted", True)):
    index = usearch.index.Index(ndim=DIMENSIONS, metric="l2sq", dtype="f32")
    index.add(keys, vectors)
    index.remove(GONE, compact=compact)
    saved(name, index.save)
    again = usearch.index.Index.restore(name)
    assert GONE not in again and GONE not in again.search(vectors[GONE], 20).keys
    lengths["usearch"] = len(again)

index = hnswlib.Index("l2", DIMENSIONS)
index.init_index(COUNT)
index.add_items(vectors, keys)
index.mark_deleted(GONE)
saved("hnswlib", index.save_index)
try:
    index.get_items([GONE])
    raise SystemExit("hnswlib returns a deleted vector")
except RuntimeError:
    pass

index = voyager.Index(voyager.Space.Euclidean, DIMENSIONS)
index.add_items(vectors, keys)
index.mark_deleted(GONE)
saved("voyager", index.save)
lengths["voyager"] = len(index)
assert GONE in index
try:
    index.get_vector(GONE)
    raise SystemExit("voyager returns a deleted vector")
except RuntimeError:
    pass

for name, recipe in (("faiss Flat", "Flat"), ("faiss IVF", "IVF4,Flat")):
    index = faiss.index_factory(DIMENSIONS, recipe)
    index.train(vectors)
    index.add(vectors)
    index.remove_ids(np.array([GONE]))
    saved(name, lambda path, index=index: faiss.write_index(index, path))

print(", ".join(f"{name} {version(name)}" for name in ("usearch", "hnswlib", "voyager", "faiss-cpu")))
print("bytes of the deleted vector in the file:", ", ".join(f"{name} {found}" for name, found in kept.items()))
print(f"length after one deletion of {COUNT}:", ", ".join(f"{name} {length}" for name, length in lengths.items()))
assert kept == {"usearch": True, "usearch compacted": True, "hnswlib": True, "voyager": True,
                "faiss Flat": False, "faiss IVF": False}
assert lengths == {"usearch": COUNT - 1, "voyager": COUNT}
PY
