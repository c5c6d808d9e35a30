"""Make the next version of a store from pending requests: look them up, revise or train anew, check, publish."""

import dataclasses
import functools
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from logging import getLogger
from time import perf_counter
from typing import Any

from recbole_unlearn.deletion.receipt import contents
from recbole_unlearn.deletion.receipt.histograms import score_histograms
from recbole_unlearn.deletion.receipt.measures import Measures, drift_of, no_drift
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.requests.resolve import resolve
from recbole_unlearn.deletion.revision import checks
from recbole_unlearn.deletion.revision.retrain import retrained
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.store.database import Refused, iso, now
from recbole_unlearn.deletion.store.layout import FAILED, WORK, Version
from recbole_unlearn.deletion.verify import sought
from recbole_unlearn.deletion.version.inter_file import copy_rows
from recbole_unlearn.deletion.version.row_counts import of_rows
from recbole_unlearn.deletion.version.state import MODEL, State, data_file, name_in, write_data
from recbole_unlearn.errors import FailedChecks, UsageError
from recbole_unlearn.model import ExactRecommender
from recbole_unlearn.report.software import software_versions

REVISED, RETRAINED, EXACT = "UnlearnRec zero-shot", "Retrain", "Exact"
HARMLESS = (Refused, MemoryError)  # errors that have nothing to do with the requests


def trained(state: State) -> dict[str, Any]:
    """Details of a version that was trained, not revised."""
    return {"trained_on": state.n_rows(), "drift": no_drift()}


def apply(
    store: Store, before: State, requests: list[DeletionRequest], exact: bool, force: bool, seconds: dict[str, float]
) -> State:
    """Make a new version without what requests name, or none if they name nothing in the data.

    Args:
        store: locked.
        before: state of its current version.
        requests: pending ones, to apply together. Afterwards they are done; still pending if the disk or its
            permissions refuse; failed on any other error.
        exact: whether to train anew.
        force: whether to publish a version that fails its checks.
        seconds: already spent, by name.

    Returns:
        The state of the version that is then current.

    Raises:
        FailedChecks: the version fails its checks and is kept aside.
        UsageError: nothing could be changed.
    """
    ids = [request.request_id for request in requests]
    store.mark(ids, "running")
    try:
        resolution = resolve(requests, before.tokens, before.graphs(), before.counts)
        if requests and resolution.is_empty():
            quarantined = {each.number: each.quarantined_until for each in store.versions() if each.quarantined_until}
            own, shared = _own_parts(store, requests, resolution), _shared_part(requests, before, quarantined)
            store.finish(own, hashes_of(store, requests), shared)
            return before
        return _publish(store, before, requests, resolution, exact, force, seconds)
    except HARMLESS as error:
        store.mark(ids, "pending", str(error) or type(error).__name__)
        raise
    except UsageError as error:
        store.mark(ids, "failed", str(error))
        raise
    except Exception as error:
        store.mark(ids, "failed", type(error).__name__)  # a bug's message may name somebody
        raise


def hashes_of(store: Store, requests: list[DeletionRequest]) -> dict[str, list[str]]:
    """Hashes that ``verify`` looks for from now on, even of rows not found: files outside the store may have them."""
    hashes = {request.request_id: list(sought.hashes_of(request.rows, store.keyed_hash)) for request in requests}
    if requests and not store.counts()["done"]:  # earlier releases hashed no words
        hashes[requests[0].request_id].append(store.keyed_hash(*sought.WORDS_ARE_HASHED))
    return hashes


def _publish(store, before, requests, resolution, exact, force, seconds):
    parent, config, seconds = store.current(), before.config, dict(seconds)
    keep = {part: of_rows(mask, before.counts.get(part)).numpy() for part, mask in resolution.keep.items()}

    def write_rows(part: str, path: str) -> None:
        copy_rows(data_file(parent.folder, config["dataset"], part), path, keep[part])

    kept = store.retention(
        config["unlearn_quarantine_days"], config["unlearn_quarantine_versions"], config["unlearn_grace_seconds"]
    )
    method, hashes = _method(before.model, exact), hashes_of(store, requests)
    artefacts: list[dict[str, Any]] = []

    def write(folder):
        with timed(seconds, "writing"):
            after.write(folder, write_rows)
        with timed(seconds, "reading back"):
            artefacts.extend(checks.artefacts_of(folder, before, after, resolution))

    def details():
        n_rows = sum(int((~of_part).sum()) for of_part in keep.values())
        measures, _ = measured()
        if exact or method == EXACT:
            return {**parent.details, **trained(after)}
        return {**parent.details, "drift": drift_of(parent.details, len(requests), n_rows, measures, config)}

    def receipts(version: Version) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        measures, scores = measured()
        checked = checks.checks_of(measures, artefacts, before, after)
        _refuse_unfit(version, checks.failed(checked), force)
        shared = {
            "method": version.method,
            "parent": {"version": parent.number, "sha256": parent.files[name_in(parent.files, MODEL)]},
            "child": {"version": version.number, "sha256": version.files[MODEL]},
            "measures": measures,
            "scores": scores,
            "artefacts": artefacts,
            "checks": checked,
            "drift": contents.coarsened(version.details["drift"]),
            "seconds": seconds,
        }
        quarantined = {number: until for number, until in kept.items() if until > iso(now())}
        return _own_parts(store, requests, resolution), _shared_part(requests, before, quarantined, **shared)

    def measures_of(stage, model):
        with timed(seconds, f"measures {stage}"):
            return measure.result()(model)

    @functools.cache
    def measured():
        (of_before, scores_before), (of_after, scores_after) = first.result(), second.result()
        return {"before": of_before, "after": of_after}, score_histograms(scores_before, scores_after)

    before.model.make_ready()  # here, because a revision copies the model while it is measured
    with ThreadPoolExecutor(max_workers=1) as beside:  # measuring takes as long as all the rest
        try:
            measure = beside.submit(Measures.of, before, resolution)
            first = beside.submit(measures_of, "before", before.model)
            with timed(seconds, "revision"):
                after = before.without(resolution)
            if exact:
                del seconds["revision"]  # which only says what the training starts from
                first.result()  # a training has the memory for itself
                with timed(seconds, "retraining"):
                    after = _retrain(store, after, write_rows)
            second = beside.submit(measures_of, "after", after.model)
            store.publish(write, method, details, receipts, hashes, kept)
        except BaseException:
            beside.shutdown(wait=False, cancel_futures=True)
            raise
    return after


def _method(model, retrained):
    """What a receipt says was done."""
    if retrained or not isinstance(model, ExactRecommender):
        return RETRAINED if retrained else REVISED
    return EXACT if model.exact else f"Alternation to a {model.deviation_of} of {model.limit:g}"


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Keep under ``name`` how many seconds the block takes."""
    start = perf_counter()
    yield
    seconds[name] = perf_counter() - start


def _retrain(store, after, write_rows):
    """Fit to what remains, or train on it in a folder of the store where an interrupted training of it resumes."""
    if isinstance(after.model, ExactRecommender):
        return dataclasses.replace(after, model=after.model.fitted(after.model.graph))
    work = os.path.join(store.folder, WORK)
    data = os.path.join(work, "data")
    shutil.rmtree(data, ignore_errors=True)
    write_data(work, after.config["dataset"], write_rows)
    return retrained(after, data, os.path.join(work, "training"))


def _refuse_unfit(version, failed, force):
    if failed and not force:
        folder = version.folder + FAILED
        raise FailedChecks(
            f"Version {version.number} was not published, because it fails a check: {'; '.join(failed)}. Its files are "
            f"in '{folder}', and its requests wait. Publish it all the same with --force, train anew with --exact, or "
            "submit them again, e.g. some at a time.",
            failed,
            folder,
        )
    if failed:
        getLogger().warning(
            f"Version {version.number} fails a check and is published all the same: {'; '.join(failed)}"
        )


def _own_parts(store, requests, resolution):
    """Request id to its own part of the receipt."""
    submitted = {request["request_id"]: request["submitted_at"] for request in store.requests()}
    return {
        each.request_id: contents.own_part(
            each, submitted[each.request_id], resolution.found[each.request_id], store.keyed_hash
        )
        for each in requests
    }


def _shared_part(requests, state, quarantined, **measured):
    """The part that all receipts of a version share.

    Args:
        quarantined: number of a version to the time when its quarantine ends.
        measured: of a new version; without it, nothing was in the data.
    """
    return {
        "finished_at": iso(now()),
        "model": state.config["model"],
        "dataset": state.config["dataset"],
        **dict.fromkeys((*contents.MEASURED, *contents.SEALED)),
        "batch": len(requests),
        "quarantined": [{"version": number, "until": until} for number, until in quarantined.items()],
        "versions": software_versions(state.config),
        **measured,
    }
