"""Deletion requests against a saved model, top to bottom: store, requests, revision, measures, receipts."""

import hashlib
import os
import shutil
from datetime import timedelta
from logging import getLogger
from pathlib import Path
from time import perf_counter

from recbole_unlearn.deletion import evidence
from recbole_unlearn.deletion.database import explained
from recbole_unlearn.deletion.exact import retrained
from recbole_unlearn.deletion.importing import import_checkpoint
from recbole_unlearn.deletion.receipt import write_receipt
from recbole_unlearn.deletion.records import WORK, iso, now, store_folder
from recbole_unlearn.deletion.request_file import read_requests
from recbole_unlearn.deletion.resolve import resolve
from recbole_unlearn.deletion.rows import copy_rows
from recbole_unlearn.deletion.state import MODEL, State, data_file, file_of, name_in, write_data
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.verify import verify  # noqa: F401  (for callers of this module)
from recbole_unlearn.errors import UsageError
from recbole_unlearn.known_settings import check_deletion_settings
from recbole_unlearn.report import software_versions

REVISED, RETRAINED = "UnlearnRec zero-shot", "Retrain"


def prepare(checkpoint, config_dict=None):
    """Make the store of a trained checkpoint, with the encoder that serves its requests; once.

    Args:
        checkpoint (str): written by this package, or by RecBole's own Trainer.
        config_dict (dict): settings to change, e.g. ``data_path``.

    Returns:
        Store: what is there already, if it is.

    Raises:
        UsageError: no checkpoint, or one that does not fit its data.
    """
    folder = store_folder(checkpoint)
    check_deletion_settings(config_dict)
    if "negative" == (config_dict or {}).get("ie_target"):
        raise UsageError("A store revises with `ie_target: unseen`; the paper's encoder is for run_unlearn's comparisons.")
    if os.path.isdir(folder):
        return _opened(folder, checkpoint)
    getLogger().info(f"Preparing {folder}, once: {checkpoint} with its data, and the encoder")
    imported = import_checkpoint(checkpoint, config_dict)
    state = imported.state()
    try:
        details = {**_trained(state), "checkpoint": _digest(checkpoint)}
        return Store.create(folder, lambda place: state.write(place, imported.write_rows), details=details)
    except UsageError:
        if os.path.isdir(folder):  # another process was faster
            return _opened(folder, checkpoint)
        raise


def dry_run(checkpoint, requests, config_dict=None):
    """Look requests up without changing anything.

    Args:
        checkpoint, requests, config_dict: see :func:`unlearn`.

    Returns:
        dict: request id to the counts that its receipt would have.
    """
    folder, done = store_folder(checkpoint), set()
    check_deletion_settings(config_dict)
    if os.path.isdir(folder):
        store = _opened(folder, checkpoint)
        done = {request["request_id"] for request in store.requests() if request["status"] == "done"}
        state = State.load(store.current().folder, config_dict)
        config, tokens, graphs = state.config, state.tokens, state.graphs()
    else:
        imported = import_checkpoint(checkpoint, config_dict)
        config, tokens, graphs = imported.config, imported.tokens, imported.graphs()
    counts = {}
    for request in _requests(requests, config):
        found = resolve([request], tokens, graphs).found[request.request_id]
        counts[request.request_id] = evidence.counts_of(request, found)
        would = "was done before; what is there now:" if request.request_id in done else "would forget"
        getLogger().info(f"{request.request_id} {would} {_in_words(counts[request.request_id])}")
    return counts


def unlearn(checkpoint, requests=(), config_dict=None, exact=False, wait_seconds=600):
    """Apply deletion requests to a saved model, through its store.

    Requests that an earlier call left unfinished are applied with them; those that are done already are not applied
    again. All that are applied together make one new version, or none if they name nothing in the data. Versions whose
    quarantine is over are removed.

    Args:
        checkpoint (str): written by this package, or by RecBole's own Trainer. Its store is made if there is none.
        requests (str or list of DeletionRequest): a file of :func:`~recbole_unlearn.deletion.request_file.read_requests`,
            or what it returns.
        config_dict (dict): settings to change.
        exact (bool): whether to train anew on what remains, in the place of the encoder.
        wait_seconds (float): how long at most to wait for another process that holds the store.

    Returns:
        dict: ``store``, ``version``, ``model`` (path of the current model), ``status`` (request id to what
        :meth:`~recbole_unlearn.deletion.store.Store.submit` said), ``receipts`` (request id to receipt, of those done) and
        ``failed_checks`` (names of the checks in receipts that the new version fails).

    Raises:
        UsageError: a bad request, another process holds the store, or nothing could be changed; nothing is then.
    """
    store = prepare(checkpoint, config_dict)
    waiting = lambda holder: getLogger().info(f"Waiting for process {holder}, which holds the store")  # noqa: E731
    with explained(store.folder), store.locked(wait_seconds, waiting):
        _write_receipts(store)
        loading = perf_counter()
        _check_files(store.current())
        before = State.load(store.current().folder, config_dict)
        loading = perf_counter() - loading
        requests = _requests(requests, before.config)
        status = store.submit(requests)
        pending = store.pending()
        if pending or (exact and not requests):
            _apply(store, before, pending, exact, {"load": loading})
            _write_receipts(store)
        store.purge(keep=before.config["unlearn_quarantine_versions"])
        if os.path.isdir(os.path.join(store.folder, WORK)):  # a retraining's, this one's or one that was given up
            shutil.rmtree(os.path.join(store.folder, WORK))
    current = store.current()
    receipts = {request_id: store.receipt(request_id) for request_id in {**status, **dict.fromkeys(r.request_id for r in pending)}}
    failed_checks = _failed_checks(receipts[request.request_id] for request in pending)
    _tell(status, receipts, current, store.counts()["failed"], failed_checks)
    return {
        "store": store.folder,
        "version": current.number,
        "model": file_of(os.path.join(store.folder, "current"), MODEL),
        "status": status,
        "receipts": receipts,
        "failed_checks": failed_checks,
    }


def _opened(folder, checkpoint):
    """The store of a checkpoint; it serves on after the checkpoint, which still knows the forgotten, is deleted."""
    store = Store(folder)
    if os.path.isfile(checkpoint) and _digest(checkpoint) != store.current().details["checkpoint"]:
        raise UsageError(f"'{checkpoint}' is not what '{folder}' was made from: it was trained again. Move the store away.")
    return store


def _digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _check_files(version):
    """Refuse a version whose files have changed, which no reader of theirs would notice, before it is passed on."""
    for name, digest in version.files.items():
        path = Path(version.folder, name)
        if not path.is_file() or _digest(path) != digest:
            raise UsageError(f"'{path}' is missing or has changed since version {version.number} was made. Restore it.")


def _apply(store, before, requests, exact, seconds):
    """Make a new version without what the requests name, or none if that is nothing."""
    ids = [request.request_id for request in requests]
    store.start(ids)
    try:
        resolution = resolve(requests, before.tokens, before.graphs())
        if requests and resolution.is_empty():
            store.finish(_receipts(store, requests, resolution, before, {}), _hashes(store, requests))
            return
        _publish(store, before, requests, resolution, exact, seconds)
    except UsageError as error:
        store.fail(ids, str(error))
        raise


def _publish(store, before, requests, resolution, exact, seconds):
    parent = store.current()

    def write_rows(part, path):
        copy_rows(data_file(parent.folder, before.config["dataset"], part), path, resolution.keep[part].numpy())

    start = perf_counter()
    after = before.without(resolution)
    seconds["revision"] = perf_counter() - start
    if exact:
        start = perf_counter()
        after = _retrain(store, after, write_rows)
        seconds = {"load": seconds["load"], "retraining": perf_counter() - start}
    start = perf_counter()
    measures, scores = evidence.measured(before, after, resolution)
    seconds["measures"] = perf_counter() - start
    start = perf_counter()
    forgotten = {part: graph.subgraph(~resolution.keep[part]) for part, graph in before.graphs().items()}
    counts = {"requests": len(requests), "interactions": sum(len(graph) for graph in forgotten.values())}
    drift = evidence.drift_of(parent.details, counts, measures, before.config)
    details = {**parent.details, **(_trained(after) if exact else {"drift": drift})}

    def receipts(version):
        seconds["writing"] = perf_counter() - start
        artefacts = evidence.artefacts_of(version.folder, after, forgotten)
        common = {
            "method": version.method,
            "parent": {"version": parent.number, "sha256": parent.files[name_in(parent.files, MODEL)]},
            "child": {"version": version.number, "sha256": version.files[MODEL]},
            "measures": measures,
            "scores": scores,
            "artefacts": artefacts,
            "checks": evidence.checks_of(measures, artefacts, before.config["unlearn_least_utility"]),
            "drift": details["drift"],
            "seconds": seconds,
            "batch": len(requests),
            "quarantined": _quarantined(store, before.config),
        }
        return _receipts(store, requests, resolution, before, common)

    store.publish(
        lambda folder: after.write(folder, write_rows),
        RETRAINED if exact else REVISED,
        details,
        receipts,
        _hashes(store, requests),
        before.config["unlearn_quarantine_days"],
    )


def _hashes(store, requests):
    """What :func:`verify` looks for from now on, also where nothing was found: files outside of the store may have it."""
    return {request.request_id: [store.keyed_hash(*row) for row in request.rows] for request in requests}


def _retrain(store, after, write_rows):
    """Train on what remains, in a folder of the store where an interrupted training of the same data goes on."""
    work = os.path.join(store.folder, WORK)
    data = os.path.join(work, "data")
    shutil.rmtree(data, ignore_errors=True)
    write_data(work, after.config["dataset"], write_rows)
    return retrained(after, data, os.path.join(work, "training"))


def _trained(state):
    """Details of a version that was trained, not revised."""
    drift = {"requests": 0, "interactions": 0, "share": 0.0, "utility": 1.0, "recommend_retraining": False, "reason": None}
    return {"trained_on": sum(map(len, state.graphs().values())), "drift": drift}


def _receipts(store, requests, resolution, state, common):
    """Request id to receipt; what all requests of a version have in common is given."""
    submitted = {request["request_id"]: request["submitted_at"] for request in store.requests()}
    quarantined = [{"version": v.number, "until": v.quarantined_until} for v in store.versions() if v.quarantined_until]
    shared = {"quarantined": quarantined, "versions": software_versions(state.config["device"]), **common}
    return {
        request.request_id: _receipt(store, request, submitted[request.request_id], resolution, state, shared)
        for request in requests
    }


def _receipt(store, request, submitted_at, resolution, state, shared):
    found = resolution.found[request.request_id]
    counts = evidence.counts_of(request, found)
    return {
        "request_id": request.request_id,
        "received_at": request.received_at,
        "submitted_at": submitted_at,
        "finished_at": iso(now()),
        "outcome": "forgotten" if counts["found"] else "not found",
        "model": state.config["model"],
        "dataset": state.config["dataset"],
        "rows": evidence.rows_of(request, found, store.keyed_hash),
        "counts": counts,
        **dict.fromkeys(("method", "parent", "child", "measures", "scores", "artefacts", "checks", "drift", "seconds")),
        "batch": 1,
        **shared,
    }


def _quarantined(store, config):
    """The versions that are kept when the next one is current, which quarantines the current one."""
    until = iso(now() + timedelta(days=config["unlearn_quarantine_days"]))
    kept = store.versions()[::-1][: config["unlearn_quarantine_versions"]][::-1]
    return [{"version": version.number, "until": version.quarantined_until or until} for version in kept]


def _write_receipts(store):
    """Write the pages of receipts that have none yet: the database has them from the moment that a request is done."""
    folder = os.path.join(store.folder, "receipts")
    os.makedirs(folder, exist_ok=True)  # someone may have taken them all away
    for entry in os.listdir(folder):
        if entry.startswith("."):  # half written by a process that was killed; whoever writes holds the store
            os.remove(os.path.join(folder, entry))
    for request in store.requests():
        name = request["request_id"]
        if request["status"] == "done" and not os.path.exists(os.path.join(folder, f"{name}.json")):
            write_receipt(store.receipt(name), folder)


def _requests(requests, config):
    if isinstance(requests, (str, os.PathLike)):
        return read_requests(os.fspath(requests), config["USER_ID_FIELD"], config["ITEM_ID_FIELD"])
    return list(requests)


def _failed_checks(receipts):
    """Names of the checks that some receipt says were failed, each once; what could not be measured was not."""
    checks = [check for receipt in receipts for check in receipt["checks"] or []]
    return list(dict.fromkeys(check["name"] for check in checks if check["passed"] is False))


def _tell(status, receipts, current, n_failed, failed_checks):
    logger = getLogger()
    for request_id, receipt in receipts.items():
        again = "was done before and changes nothing" if status.get(request_id) == "done" else receipt["outcome"]
        logger.info(f"{request_id}: {again}; {_in_words(receipt['counts'])}")
    if n_failed:
        logger.warning(f"{n_failed} earlier requests have failed: submit them again")
    drift = current.details["drift"]
    logger.info(f"Current version: {current.number} ({current.method}), {current.folder}")
    if drift["recommend_retraining"]:
        logger.warning(f"Retraining is due ({drift['reason']} since the last training): use --exact, without --forget_file")
    if failed_checks:
        logger.warning(f"Version {current.number} fails a check (see its receipts): {'; '.join(failed_checks)}")


def _in_words(counts):
    found = f"{counts['interactions']} interactions, {counts['users_erased']} users and {counts['items_erased']} items as a whole"
    return f"{found}; {counts['not_found']} of {counts['rows']} rows not found"
