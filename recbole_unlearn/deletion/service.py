"""Deletion requests against a saved model, top to bottom: store, requests, revision, measures, receipts."""

import os
from collections.abc import Sequence
from logging import getLogger
from typing import Any

from recbole_unlearn.data.request_source import RequestSource
from recbole_unlearn.deletion.handover import check_ready, hand_over
from recbole_unlearn.deletion.importing.checkpoint import Imported, import_checkpoint
from recbole_unlearn.deletion.logged import report_done, report_found, report_unread, report_wait
from recbole_unlearn.deletion.preparation import opened, prepare
from recbole_unlearn.deletion.receipt import contents
from recbole_unlearn.deletion.receipt.chain import write_sealed
from recbole_unlearn.deletion.requests import DeletionRequest, read_requests
from recbole_unlearn.deletion.requests.resolve import resolve
from recbole_unlearn.deletion.revision.checks import failed
from recbole_unlearn.deletion.revision.retrain import check_retrainable, check_revisable
from recbole_unlearn.deletion.revision.revise import apply, timed
from recbole_unlearn.deletion.store.database import explained
from recbole_unlearn.deletion.store.layout import WORK, store_folder
from recbole_unlearn.deletion.verify.verification import verify  # noqa: F401  (for callers of this module)
from recbole_unlearn.deletion.version.state import MODEL, State, file_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.files.checkpoint import remove
from recbole_unlearn.known_settings import MAKE_THE_MODEL, check_deletion_settings, is_read_of_a_store
from recbole_unlearn.model_file import read_content

Requests = str | os.PathLike | RequestSource | Sequence[DeletionRequest]


def dry_run(
    checkpoint: str, requests: Requests, config_dict: dict[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Look requests up without changing anything.

    Args:
        checkpoint, requests, config_dict: see :func:`unlearn`.

    Returns:
        Request id to the counts that its receipt would have, or that it has if the request was done before.
    """
    folder = store_folder(checkpoint)
    check_deletion_settings(config_dict)
    store = opened(folder, checkpoint) if os.path.isdir(folder) else None
    if store:
        report_unread(folder, config_dict, exact=False)
        state = _load(store, config_dict, exact=False)
        there: State | Imported = state
        rows = state.counts
    else:
        there = imported = import_checkpoint(checkpoint, config_dict)
        rows = imported.counts()
    asked = _requests(requests, there.config)
    found = resolve(asked, there.tokens, there.graphs(), rows).found
    counts = {request.request_id: contents.counts_of(request, found[request.request_id]) for request in asked}
    receipts = store.receipts(store.done() & counts.keys()) if store else {}
    done = {request_id: receipt["counts"] for request_id, receipt in receipts.items()}
    counts |= done
    report_found(counts, done)
    return counts


def unlearn(
    checkpoint: str,
    requests: Requests = (),
    config_dict: dict[str, Any] | None = None,
    exact: bool = False,
    wait_seconds: float = 600,
    force: bool = False,
) -> dict[str, Any]:
    """Apply deletion requests to a saved model, once; see :class:`Deletion` for request after request.

    Args:
        checkpoint, config_dict: see :class:`Deletion`.
        requests, exact, wait_seconds, force: see :meth:`Deletion.unlearn`, with what it returns and raises.
    """
    return Deletion(checkpoint, config_dict).unlearn(requests, exact, wait_seconds, force)


class Deletion:
    """Applies deletion requests to a saved model, through its store, and keeps the model from one call to the next.

    The first call makes the store if there is none. Several processes may serve one store: a call that finds another's
    new version reads it. Calls of several threads on one object have to take turns.

    Args:
        checkpoint: written by this package, or by RecBole's own Trainer.
        config_dict: settings to change.
    """

    def __init__(self, checkpoint: str, config_dict: dict[str, Any] | None = None) -> None:
        self.checkpoint, self.config_dict = checkpoint, config_dict
        self._kept: tuple[tuple[dict[str, str], bool], State] | None = None  # what it is of, and a state

    def unlearn(
        self,
        requests: Requests = (),
        exact: bool = False,
        wait_seconds: float = 600,
        force: bool = False,
    ) -> dict[str, Any]:
        """Apply deletion requests.

        The call skips requests that are done already. Its other requests make one new version together, or none if they
        name nothing in the data. Requests that an earlier call left unfinished make a version of their own, so that no
        old request blocks a new one. The call does not publish a version that fails its checks. It removes versions
        whose quarantine is over.

        Args:
            requests: a file or source for :func:`~recbole_unlearn.deletion.requests.read_requests`, or what it returns.
            exact: whether to train anew on what remains, instead of using the encoder; also tries failed requests
                again.
            wait_seconds: the longest wait for another process that holds the store.
            force: whether to publish a version that fails its checks; also tries failed requests again.

        Returns:
            ``store``, ``version``, ``model`` (path of the current model), ``status`` (request id to what
            :meth:`~recbole_unlearn.deletion.store.Store.submit` returned), ``receipts`` (request id to receipt, of done
            requests), ``sinks`` (what :func:`~recbole_unlearn.deletion.handover.hand_over` returned), ``failed_checks``
            (names of the failed checks in receipts of published versions) and ``waiting`` (number of failed requests
            that wait for ``force``, ``exact`` or a new submission).

        Raises:
            FailedChecks: a new version fails its checks; its files are kept aside, and its requests have failed.
            UsageError: a request is bad, the checkpoint does not exist or does not fit its data, another process holds
                the store, or a change failed; then nothing has changed.
        """
        store, errors = prepare(self.checkpoint, self.config_dict, force, exact), []
        sinks: list[dict[str, Any]] = []
        seconds: dict[str, float] = {}
        with explained(store.folder), store.locked(wait_seconds, report_wait):
            _write_receipts(store)
            with timed(seconds, "load"):
                if self._kept:  # what is read is verified anyway
                    store.current().check_files()
                config = self._current(store, exact).config
            check_ready(config)
            if exact:
                check_retrainable(config)
            asked = _requests(requests, config)
            if not exact and (asked or store.pending()):
                check_revisable(self._current(store, exact).model)
            status = store.submit(asked)
            if exact or force:
                store.retry()
            pending = [store.pending(tried=False), store.pending(tried=True)]
            if exact:
                pending = [sum(pending, [])]
                if asked and not pending[0]:
                    getLogger().warning(
                        "All these requests were done before: nothing is trained. Leave out --forget_file to train anew"
                    )
            for batch in pending:
                if not batch and (asked or not exact):
                    continue
                try:
                    state = apply(store, self._current(store, exact), batch, exact, force, seconds)
                    self._kept = self._key(store, exact), state
                except UsageError as error:
                    errors.append(error)
            try:
                sinks = hand_over(store, self._current(store, exact))
            except UsageError as error:
                errors.append(error)
            _clean_up(store, config, errors)
        current = store.current()
        done, names = store.done(), [*status, *(request.request_id for batch in pending for request in batch)]
        receipts = store.receipts(name for name in dict.fromkeys(names) if name in done)
        result = {
            "store": store.folder,
            "version": current.number,
            "model": file_of(os.path.join(store.folder, "current"), MODEL),
            "status": status,
            "receipts": receipts,
            "sinks": sinks,
            "failed_checks": _failed_checks(receipts, pending),
            "waiting": store.counts()["failed"],
        }
        report_done(result, current)
        for later in errors[1:]:
            getLogger().error(str(later))
        if errors:
            raise errors[0]
        return result

    def _current(self, store, exact):
        """The state of a store's current version, which is read and verified unless it is kept."""
        key = self._key(store, exact)
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # so that two are not in memory
            self._kept = key, _load(store, self.config_dict, exact)
        return self._kept[1]

    @staticmethod
    def _key(store, exact):
        """What a state is of: its version's files, by their hashes, and whether its settings are a training's too."""
        return store.current().files, exact


def _load(store, config_dict, exact):
    """The state of the current version, its files verified, with the settings that a call on a store reads."""
    version = store.current()
    version.check_files()
    path = file_of(version.folder, MODEL)
    given = {name: value for name, value in (config_dict or {}).items() if name in MAKE_THE_MODEL}
    trained = read_content(path)["config"] if given else {}
    for name, value in given.items():
        if str(value) != str(trained.get(name)):
            raise UsageError(
                f"'{path}' was trained with {name} {trained.get(name)}: leave out '{name}', or train another "
                "checkpoint."
            )
    read = {name: value for name, value in (config_dict or {}).items() if is_read_of_a_store(name, exact)}
    return State.load(version.folder, read)


def _clean_up(store, config, errors):
    """Write receipts and remove what is no longer needed, even after an error such as a full disk."""
    try:
        store.purge(keep=config["unlearn_quarantine_versions"], grace_seconds=config["unlearn_grace_seconds"])
        _write_receipts(store)
        work = os.path.join(store.folder, WORK)
        if os.path.lexists(work) and not errors:  # after an error, the same training may go on
            remove(work)
    except UsageError as error:
        errors.append(error)


def _write_receipts(store):
    """Write the receipts that have no files yet: the database holds each from the moment its request is done."""
    with explained(store.folder):
        write_sealed(store)


def _requests(requests, config):
    if isinstance(requests, (str, os.PathLike, RequestSource)):
        source = requests if isinstance(requests, RequestSource) else os.fspath(requests)
        return read_requests(source, config["USER_ID_FIELD"], config["ITEM_ID_FIELD"])
    if not isinstance(requests, (list, tuple)) or not all(isinstance(each, DeletionRequest) for each in requests):
        raise UsageError("`requests` must be the path of a request file, a RequestSource or a list of DeletionRequest.")
    return list(requests)


def _failed_checks(receipts, batches):
    """Names of the required checks that failed according to the receipts of this call, each once."""
    of_call = [receipts[batch[0].request_id] for batch in batches if batch and batch[0].request_id in receipts]
    return list(dict.fromkeys(name for each in of_call for name in failed(each["checks"] or [])))
