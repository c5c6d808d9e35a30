"""Search what sinks have written, inside a store and outside of it, with what each sink knows of its files."""

import os
from typing import Any

from recbole_unlearn.deletion.sinks.base import sinks_of
from recbole_unlearn.deletion.sinks.deliver import content_of, files_of, last_written
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.store.layout import Version
from recbole_unlearn.deletion.verify.findings import Finding, Scan
from recbole_unlearn.deletion.version.state import MODEL, file_of
from recbole_unlearn.errors import UsageError
from recbole_unlearn.model_file import load_model


def folders_of(store: Store) -> dict[str, dict[str, Any]]:
    """The folder of what each sink wrote last, to its entry in the receipts."""
    return {os.path.join(store.folder, entry["folder"]): entry for entry in last_written(store).values()}


def search(store: Store, current: Version, entry: dict[str, Any]) -> Scan:
    """Search what a sink wrote last: its files must be those of the receipt, and the sink finds the current version.

    A sink that is behind still has what was forgotten since, and is a finding. A sink whose files are missing is none:
    somebody may have removed them.

    Args:
        store: whose sink it is.
        current: its current version.
        entry: of the receipts.
    """
    folder = os.path.join(store.folder, entry["folder"])
    if not os.path.isdir(folder):
        return Scan(left_out=[(folder, f"the sink '{entry['sink']}' wrote it, and it is gone")])
    if entry["version"] != current.number:
        behind = f"of version {entry['version']}, which the sink '{entry['sink']}' has not replaced"
        return Scan(findings=[Finding(folder, behind, 1)])
    there = files_of(folder)
    unlike = [name for name in sorted({*there, *entry["files"]}) if there.get(name) != entry["files"].get(name)]
    if unlike:  # nothing of them is read
        written = [Finding(os.path.join(folder, name), "not what the sink wrote", 1) for name in unlike]
        return Scan(findings=written)
    try:
        config, model, tokens = load_model(file_of(current.folder, MODEL))
        names = {"unlearn_sinks": [entry["sink"]]}
        sink = sinks_of(config.replace(**names))[entry["sink"]]
        sink.check_ready()
        checks = sink.verify(content_of(store, current, config, model, tokens), folder)
    except UsageError as error:
        return Scan(not_searched=[(folder, str(error))])
    except Exception as error:  # of any library
        return Scan(not_searched=[(folder, f"the sink '{entry['sink']}' cannot read it ({type(error).__name__})")])
    failed = [check for check in checks if check["passed"] is False]
    if failed:
        return Scan(findings=[Finding(folder, check["name"], 1) for check in failed])
    looked = f"anything but version {current.number}, by the sink '{entry['sink']}'"
    return Scan(files=[(os.path.join(folder, name), looked) for name in there])
