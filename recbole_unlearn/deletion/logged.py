"""What calls on a store log: what they found and did, in a few lines however many requests there are."""

from collections.abc import Collection, Mapping
from logging import getLogger
from typing import Any

from recbole_unlearn.deletion.store.layout import Version
from recbole_unlearn.known_settings import is_read_of_a_store

REPORTED = 20  # requests that are reported one by one


def report_unread(folder: str, config_dict: Mapping[str, Any] | None, exact: bool) -> None:
    """Log the given settings that a call on an existing store does not read."""
    unread = [name for name in config_dict or {} if not is_read_of_a_store(name, exact)]
    if unread:
        hint = "" if exact else " Only --exact trains."
        getLogger().warning(f"{folder} has its model and its rows already: {', '.join(unread)} not read.{hint}")


def report_wait(holder: int) -> None:
    """Log which process holds the store."""
    getLogger().info(f"Waiting for process {holder}, which holds the store")


def report_found(counts: Mapping[str, dict[str, Any]], done: Mapping[str, Any]) -> None:
    """Log what requests would forget; ``done`` were done before."""
    for request_id in list(counts)[:REPORTED]:
        would = "was done before and changes nothing; it forgot" if request_id in done else "would forget"
        getLogger().info(f"{request_id} {would} {_in_words(counts[request_id])}")
    _report_sums(list(counts.values()))


def report_done(result: dict[str, Any], current: Version) -> None:
    """Log a call's result: see :meth:`~recbole_unlearn.deletion.service.Deletion.unlearn`."""
    logger, receipts = getLogger(), result["receipts"]
    for request_id, of_request in list(receipts.items())[:REPORTED]:
        is_old = result["status"].get(request_id) == "done"
        again = "was done before and changes nothing" if is_old else of_request["outcome"]
        logger.info(f"{request_id}: {again}; {_in_words(of_request['counts'])}")
    _report_sums([of_request["counts"] for of_request in receipts.values()])
    for entry in result["sinks"]:
        place = f"Sink {entry['sink']}, version {entry['version']}"
        if entry["reason"] is None:
            logger.info(f"{place}: written to {entry['folder']}")
        else:
            logger.error(f"{place}: failed, and the next call tries it again ({entry['reason']})")
    if result["waiting"]:
        logger.warning(
            f"{result['waiting']} requests have failed and wait: submit them again, or use --force or --exact"
        )
    drift = current.details["drift"]
    logger.info(f"Current version: {current.number} ({current.method}), {current.folder}")
    if drift["recommend_retraining"]:
        logger.warning(
            f"Retraining is due ({drift['reason']} since the last training): use --exact, without --forget_file"
        )


def _report_sums(counts: Collection[dict[str, Any]]) -> None:
    """Log one line of sums if there are more requests than the command reports one by one."""
    if len(counts) > REPORTED:
        found, rows = (sum(each[key] for each in counts) for key in ("found", "rows"))
        getLogger().info(f"All {len(counts)} requests: {found} of {rows} rows found")


def _in_words(counts):
    users, items = counts["users_erased"], counts["items_erased"]
    found = f"{counts['interactions']} interactions, {users} users and {items} items as a whole"
    return f"{found}; {counts['not_found']} of {counts['rows']} rows not found"
