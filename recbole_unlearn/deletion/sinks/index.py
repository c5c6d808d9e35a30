"""An index of the items for approximate search, built anew for each version."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbole_unlearn.deletion.sinks.base import SINKS, TOLERANCE, Sink, check, none_of
from recbole_unlearn.deletion.sinks.content import Content
from recbole_unlearn.deletion.sinks.tables import read_table, write_table

ITEMS, ABOUT, INDEX = "items.parquet", "index.json", "items.index"
LINKS, ON_BUILDING, ON_SEARCH = 32, 200, 256  # of a node; candidates kept while building and while searching
QUERIES = 1000  # users, evenly spaced, whose searches are compared with exact ones


class Library(ABC):
    """A library of indexes by inner product; labels are row numbers from 0."""

    @abstractmethod
    def build(self, table: np.ndarray, path: str) -> None:
        """Write an index of float32 rows, shape ``(n, d)``."""

    @abstractmethod
    def read(self, path: str, dimensions: int) -> Any:
        """The index that :meth:`build` has written."""

    @abstractmethod
    def rows(self, index: Any) -> np.ndarray | None:
        """All vectors in the order of their labels; None if the labels are not row numbers from 0."""

    @abstractmethod
    def search(self, index: Any, queries: np.ndarray, k: int) -> np.ndarray:
        """Labels of the ``k`` nearest of each query, shape ``(q, k)``."""


class Faiss(Library):
    """faiss: HNSW over flat vectors."""

    def build(self, table: np.ndarray, path: str) -> None:
        import faiss

        index = faiss.IndexHNSWFlat(table.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = ON_BUILDING, ON_SEARCH
        index.add(table)
        faiss.write_index(index, path)

    def read(self, path: str, dimensions: int) -> Any:
        import faiss

        return faiss.read_index(path)

    def rows(self, index: Any) -> np.ndarray | None:
        return index.reconstruct_n(0, index.ntotal)

    def search(self, index: Any, queries: np.ndarray, k: int) -> np.ndarray:
        return index.search(queries, k)[1]


class USearch(Library):
    """usearch: HNSW over float32 vectors."""

    def build(self, table: np.ndarray, path: str) -> None:
        index = self._empty(table.shape[1])
        index.add(np.arange(len(table)), table)
        index.save(path)

    def read(self, path: str, dimensions: int) -> Any:
        index = self._empty(dimensions)
        index.load(path)
        return index

    def rows(self, index: Any) -> np.ndarray | None:
        labels = np.arange(len(index))
        return np.asarray(index.get(labels)) if all(index.contains(labels)) else None

    def search(self, index: Any, queries: np.ndarray, k: int) -> np.ndarray:
        return np.atleast_2d(index.search(queries, k).keys)

    @staticmethod
    def _empty(dimensions):
        from usearch.index import Index as Empty

        return Empty(
            ndim=dimensions,
            metric="ip",
            dtype="f32",
            connectivity=LINKS,
            expansion_add=ON_BUILDING,
            expansion_search=ON_SEARCH,
        )


LIBRARIES: dict[str, tuple[Library, Mapping[str, str]]] = {
    "faiss": (Faiss(), {"faiss": "faiss"}),
    "usearch": (USearch(), {"usearch": "usearch"}),
}


@SINKS.register
class Index(Sink):
    """An index of the items' final embeddings by inner product, built anew without the forgotten items.

    ``items.index`` has the vectors under the row numbers of ``items.parquet``, which has the items' tokens, and
    ``index.json`` says what to read it with. Libraries that mark a vector as deleted keep it in their file, to the last
    bit; so nothing is ever marked.
    """

    @property
    def library(self) -> Library:
        """The library that the setting names."""
        return LIBRARIES[self.config["unlearn_index"]][0]

    def needs(self) -> Mapping[str, str]:
        return LIBRARIES[self.config["unlearn_index"]][1]

    def write(self, content: Content, folder: str) -> None:
        items = content.rows["item"]
        self.library.build(np.ascontiguousarray(items.table), os.path.join(folder, INDEX))
        write_table(os.path.join(folder, ITEMS), {content.names[1]: items.tokens})
        about = {
            "library": self.config["unlearn_index"],
            "metric": "inner product",
            "dimensions": items.table.shape[1],
            "connectivity": LINKS,
            "expansion_search": ON_SEARCH,
        }
        Path(folder, ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")

    def verify(self, content: Content, folder: str) -> list[dict[str, Any]]:
        items, path = content.rows["item"], os.path.join(folder, INDEX)
        labels = read_table(os.path.join(folder, ITEMS)) != {content.names[1]: items.tokens.tolist()}
        index = self.library.read(path, items.table.shape[1])
        there = self.library.rows(index)
        if there is None or there.shape != items.table.shape:
            differences = len(items.table) or 1
        else:
            apart = np.abs(there - items.table) > TOLERANCE * np.abs(items.table).max(initial=1e-30)
            differences = int(apart.any(axis=1).sum())
        least, recall = self.config["unlearn_sink_recall"], self._recall(index, content)
        k = self.config["unlearn_sink_top"]
        return [
            none_of("labels that are not the version's items", int(labels)),
            none_of("vectors that are not the version's", differences),
            none_of("vectors of erased items in the file's bytes", left_in(path, content)),
            check(f"share of exact top-{k} that searches find", recall >= least, recall, f"at least {least}"),
        ]

    def _recall(self, index, content):
        """The share of the items of exact top-K lists, over all items, that searches find."""
        users, items = content.rows["user"].table, content.rows["item"].table
        k = min(self.config["unlearn_sink_top"], len(items))
        queries = np.ascontiguousarray(users[:: max(1, len(users) // QUERIES)])
        if not k or not len(queries):
            return 1.0
        exact = np.argpartition(-(queries @ items.T), k - 1, axis=1)[:, :k]
        found = self.library.search(index, queries, k)
        return round(float(np.mean([len(np.intersect1d(*rows)) / k for rows in zip(exact, found)])), 4)


def left_in(path: str, content: Content) -> int | None:
    """The number of items of the version before that are gone, and whose vectors are in a file's bytes.

    A vector is a row of little-endian float32. One that an item of the version has too, as of items without data, tells
    nothing. None if the version before is not known.
    """
    if content.before is None:
        return None
    then, now = content.before.rows["item"], content.rows["item"]
    remaining = set(now.tokens)
    gone = np.array([token not in remaining for token in then.tokens], dtype=bool)
    known, file = {row.astype("<f4").tobytes() for row in now.table}, Path(path).read_bytes()
    vectors = [row.astype("<f4").tobytes() for row in then.table[gone]]
    return sum(vector not in known and vector in file for vector in vectors)
