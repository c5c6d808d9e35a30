"""Hand the current version of a store to its sinks, and find out which of them are behind."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from logging import getLogger
from pathlib import Path
from typing import Any

import numpy as np

from recbole_unlearn.config import Config
from recbole_unlearn.deletion.sinks.base import sinks_of
from recbole_unlearn.deletion.sinks.content import Content
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.store.database import iso, now
from recbole_unlearn.deletion.store.files import built_aside, digest_of, repair_link
from recbole_unlearn.deletion.store.layout import OF_SINKS, Version
from recbole_unlearn.deletion.verify.sought import Sought
from recbole_unlearn.deletion.version.state import MODEL, State, file_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.checkpoint import remove
from recbole_unlearn.model import UnlearnableRecommender
from recbole_unlearn.model_file import load_model

MARKER = "sink.json"  # in a sink's folder: whose it is
NUMBER = re.compile(r"\d{4,}")
WRITTEN, FAILED = "written", "failed"


def check_ready(config: Config) -> None:
    """Refuse to begin if a sink lacks a library or a setting.

    Raises:
        UsageError: says which, and what to install.
    """
    for sink in sinks_of(config).values():
        sink.check_ready()


def deliver(store: Store, state: State) -> list[dict[str, Any]]:
    """Let each sink of the settings that is behind write the store's current version.

    A sink that fails keeps what it wrote before; the next call finds it behind and tries again.

    Args:
        store: locked.
        state: of its current version.

    Returns:
        For each sink that was behind a dict of ``sink``, ``version``, ``result`` (written or failed), ``reason`` (of a
        failure), ``folder`` (within the store's, or absolute), ``checks`` and ``files`` (name to SHA-256).
    """
    sinks = sinks_of(state.config)
    if not sinks:
        return []
    current, last, entries = store.current(), last_written(store, sinks), []
    for name, sink in sinks.items():
        written = last.get(name)
        if not written or written["version"] != current.number or not os.path.isdir(_place(store, written)):
            entries.append(_deliver(store, state, current, name, sink, written))
    return entries


def last_written(store: Store, names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """Name of a sink to what it wrote last, of these sinks, or of all that have ever written.

    Args:
        store: whose sealed parts have the entries of :func:`deliver`.
        names: if all of them are found, older parts are not read.
    """
    found: dict[str, dict[str, Any]] = {}
    wanted = None if names is None else set(names)
    for _, part in store.parts():
        for entry in part.get("sinks") or ():
            if entry["result"] == WRITTEN:
                found.setdefault(entry["sink"], entry)
        if wanted is not None and wanted <= found.keys():
            break
    return found


def _place(store, entry):
    return os.path.join(store.folder, entry["folder"])


def content_of(
    store: Store,
    version: Version,
    config: Config,
    model: UnlearnableRecommender,
    tokens: Mapping[str, Any],
    before: Content | None = None,
) -> Content:
    """What sinks read of a version; the arguments are those of :class:`Content`."""
    made = {request["request_id"]: request["version"] for request in store.requests()}
    hashes = {each: name for each, name in store.forgotten().items() if (made[name] or 0) <= version.number}
    return Content(
        version.number,
        file_of(version.folder, MODEL),
        model,
        {side: np.asarray(names, dtype=object) for side, names in tokens.items()},
        (config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]),
        Sought(hashes, store.keyed_hash, known={*tokens["user"], *tokens["item"]}),
        store.keyed_hash,
        before,
    )


def _deliver(store, state, current, name, sink, written):
    """Let one sink write; the entry of the receipt."""
    parent = state.config["unlearn_sink_folder"] or os.path.join(store.folder, OF_SINKS)
    folder = os.path.join(os.path.abspath(parent), name, f"{current.number:04d}")
    inside = os.path.relpath(folder, store.folder)
    entry: dict[str, Any] = {
        "sink": name,
        "version": current.number,
        "result": FAILED,
        "reason": None,
        "at": iso(now()),
        "folder": folder if inside.startswith(os.pardir) else inside,
        "checks": [],
        "files": {},
    }
    try:
        content = content_of(
            store, current, state.config, state.model, state.tokens, _before(store, current, state.config, written)
        )
        entry |= _write(sink, content, folder)
        failed = [check["name"] for check in entry["checks"] if check["passed"] is False]
        if failed:
            entry["reason"] = f"fails a check: {'; '.join(failed)}"
        else:
            entry["result"] = WRITTEN
    except UsageError as error:
        entry["reason"] = str(error)
    except OSError as error:
        entry["reason"] = error.strerror or type(error).__name__
    except Exception as error:  # of any library; its message may name somebody
        entry["reason"] = type(error).__name__
        getLogger().debug(f"Sink {name}", exc_info=True)
    return entry


class _Unfit(Exception):
    """What a sink has written fails its checks."""


def _write(sink, content, folder):
    """Write and check a sink's folder aside; put it in its place, and remove the earlier ones, if it passes."""
    store_id, parent = content.keyed_hash("store"), os.path.dirname(folder)
    if os.path.lexists(folder):  # of a call that was killed before it could note it
        _check_ours(folder, store_id)
        remove(folder)
    result = {}
    try:
        with built_aside(folder) as building:
            Path(building, MARKER).write_text(json.dumps({"store": store_id}), encoding="utf-8")
            sink.write(content, building)
            result["checks"] = sink.verify(content, building)
            if any(check["passed"] is False for check in result["checks"]):
                raise _Unfit
            result["files"] = files_of(building)
    except _Unfit:
        return result
    repair_link(folder, os.path.join(parent, "current"))
    for entry in sorted(os.scandir(parent), key=lambda entry: entry.name):
        if NUMBER.fullmatch(entry.name) and entry.path != folder and _is_ours(entry.path, store_id):
            remove(entry.path)
    return result


def files_of(folder: str) -> dict[str, str]:
    """Name of each file of a sink's folder, relative to it, to its SHA-256."""
    paths = sorted(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return {os.path.relpath(path, folder): digest_of(path) for path in paths}


def _before(store, current, config, written):
    """The version that the sink wrote last, or else the parent, if the store still has it."""
    there = {version.number: version for version in store.versions() if version.number != current.number}
    number = written["version"] if written else current.parent
    if number not in there:
        return None
    version = there[number]
    _, model, tokens = load_model(file_of(version.folder, MODEL), {"gpu_id": config["gpu_id"]})
    return content_of(store, version, config, model, tokens)


def _check_ours(folder, store_id):
    if not _is_ours(folder, store_id):
        raise UsageError(f"'{folder}' is not of this store: name another unlearn_sink_folder, or move it away.")


def _is_ours(folder, store_id):
    try:
        return json.loads(Path(folder, MARKER).read_text(encoding="utf-8"))["store"] == store_id
    except (OSError, ValueError, KeyError, TypeError):
        return False
