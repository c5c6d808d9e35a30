"""Make the next version of a store from pending requests: look them up, revise or train anew, check, publish."""

import os
import shutil
from logging import getLogger
from time import perf_counter

from recbole_unlearn.deletion.receipt import contents
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.requests.resolve import resolve
from recbole_unlearn.deletion.revision import checks
from recbole_unlearn.deletion.revision.retrain import retrained
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.store.database import Refused, iso, now
from recbole_unlearn.deletion.store.layout import FAILED, WORK
from recbole_unlearn.deletion.verify import sought
from recbole_unlearn.deletion.version.inter_file import copy_rows
from recbole_unlearn.deletion.version.row_counts import of_rows
from recbole_unlearn.deletion.version.state import MODEL, State, data_file, name_in, write_data
from recbole_unlearn.errors import FailedChecks, UsageError
from recbole_unlearn.report.software import software_versions

REVISED, RETRAINED = "UnlearnRec zero-shot", "Retrain"
HARMLESS = (Refused, MemoryError)  # errors that have nothing to do with the requests


def trained(state: State) -> dict:
    """Details of a version that was trained, not revised."""
    drift = {
        "requests": 0,
        "interactions": 0,
        "share": 0.0,
        "utility": 1.0,
        "recommend_retraining": False,
        "reason": None,
    }
    return {"trained_on": state.n_rows(), "drift": drift}


def apply(
    store: Store, before: State, requests: list[DeletionRequest], exact: bool, force: bool, seconds: dict
) -> None:
    """Make a new version without what requests name, or none if they name nothing in the data.

    Args:
        store: locked.
        before: state of its current version.
        requests: pending ones, to apply together. Afterwards they are done; still pending if the disk or its
            permissions refuse; failed on any other error.
        exact: whether to train anew.
        force: whether to publish a version that fails its checks.
        seconds: already spent, by name.

    Raises:
        FailedChecks: the version fails its checks and is kept aside.
        UsageError: nothing could be changed.
    """
    ids = [request.request_id for request in requests]
    store.mark(ids, "running")
    try:
        resolution = resolve(requests, before.tokens, before.graphs(), before.counts)
        if requests and resolution.is_empty():
            receipts, shared = _receipts(store, requests, resolution, before, {})
            store.finish(receipts, hashes_of(store, requests), shared)
            return
        _publish(store, before, requests, resolution, exact, force, seconds)
    except HARMLESS as error:
        store.mark(ids, "pending", str(error) or type(error).__name__)
        raise
    except UsageError as error:
        store.mark(ids, "failed", str(error))
        raise
    except Exception as error:
        store.mark(ids, "failed", type(error).__name__)  # a bug's message may name somebody
        raise


def _publish(store, before, requests, resolution, exact, force, seconds):
    parent, config = store.current(), before.config
    keep = {part: of_rows(mask, before.counts.get(part)).numpy() for part, mask in resolution.keep.items()}

    def write_rows(part, path):
        copy_rows(data_file(parent.folder, config["dataset"], part), path, keep[part])

    start = perf_counter()
    after = before.without(resolution)
    seconds = {**seconds, "revision": perf_counter() - start}
    if exact:
        start = perf_counter()
        after = _retrain(store, after, write_rows)
        seconds = {"load": seconds["load"], "retraining": perf_counter() - start}
    start = perf_counter()
    measures, scores = contents.measured(before, after, resolution)
    seconds["measures"] = perf_counter() - start
    start = perf_counter()
    forgotten = {part: graph.subgraph(~resolution.keep[part]) for part, graph in before.graphs().items()}
    counts = {"requests": len(requests), "interactions": sum(int((~of_part).sum()) for of_part in keep.values())}
    drift = contents.drift_of(parent.details, counts, measures, config)
    details = {**parent.details, **(trained(after) if exact else {"drift": drift})}
    kept = store.retention(
        config["unlearn_quarantine_days"], config["unlearn_quarantine_versions"], config["unlearn_grace_seconds"]
    )

    def receipts(version):
        seconds["writing"] = perf_counter() - start
        artefacts = checks.artefacts_of(version.folder, before, after, forgotten)
        checked = checks.checks_of(measures, artefacts, before, after)
        _refuse_unfit(version, checks.failed(checked), force)
        common = {
            "method": version.method,
            "parent": {"version": parent.number, "sha256": parent.files[name_in(parent.files, MODEL)]},
            "child": {"version": version.number, "sha256": version.files[MODEL]},
            "measures": measures,
            "scores": scores,
            "artefacts": artefacts,
            "checks": checked,
            "drift": contents.coarsened(details["drift"]),
            "seconds": seconds,
            "quarantined": [
                {"version": number, "until": until} for number, until in kept.items() if until > iso(now())
            ],
        }
        return _receipts(store, requests, resolution, before, common)

    store.publish(
        lambda folder: after.write(folder, write_rows),
        RETRAINED if exact else REVISED,
        details,
        receipts,
        hashes_of(store, requests),
        kept,
    )


def _refuse_unfit(version, failed, force):
    if failed and not force:
        folder = version.folder + FAILED
        raise FailedChecks(
            f"Version {version.number} was not published, because it fails a check: {'; '.join(failed)}. Its files are in "
            f"'{folder}', and its requests wait. Publish it all the same with --force, train anew with --exact, or submit "
            "them again, e.g. some at a time.",
            failed,
            folder,
        )
    if failed:
        getLogger().warning(
            f"Version {version.number} fails a check and is published all the same: {'; '.join(failed)}"
        )


def hashes_of(store: Store, requests: list[DeletionRequest]) -> dict[str, list[str]]:
    """Hashes that ``verify`` looks for from now on, even of rows not found: files outside the store may have them."""
    hashes = {request.request_id: list(sought.hashes_of(request.rows, store.keyed_hash)) for request in requests}
    if requests and not store.counts()["done"]:  # earlier releases hashed no words
        hashes[requests[0].request_id].append(store.keyed_hash(*sought.WORDS_ARE_HASHED))
    return hashes


def _retrain(store, after, write_rows):
    """Train on what remains, in a folder of the store where an interrupted training of the same data resumes."""
    work = os.path.join(store.folder, WORK)
    data = os.path.join(work, "data")
    shutil.rmtree(data, ignore_errors=True)
    write_data(work, after.config["dataset"], write_rows)
    return retrained(after, data, os.path.join(work, "training"))


def _receipts(store, requests, resolution, state, common):
    """Request id to its own part of the receipt, and the part that all receipts of a version share."""
    submitted = {request["request_id"]: request["submitted_at"] for request in store.requests()}
    quarantined = [{"version": v.number, "until": v.quarantined_until} for v in store.versions() if v.quarantined_until]
    shared = {
        "finished_at": iso(now()),
        "model": state.config["model"],
        "dataset": state.config["dataset"],
        **dict.fromkeys(("method", "parent", "child", "measures", "scores", "artefacts", "checks", "drift", "seconds")),
        "batch": len(requests),
        "quarantined": quarantined,
        "versions": software_versions(state.config["device"]),
        **common,
    }
    return {each.request_id: _receipt(store, each, submitted[each.request_id], resolution) for each in requests}, shared


def _receipt(store, request, submitted_at, resolution):
    found = resolution.found[request.request_id]
    counts = contents.counts_of(request, found)
    return {
        "request_id": request.request_id,
        "received_at": request.received_at,
        "submitted_at": submitted_at,
        "outcome": "forgotten" if counts["found"] else "not found",
        "rows": contents.rows_of(request, found, store.keyed_hash),
        "counts": counts,
    }
