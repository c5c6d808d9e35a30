"""A store under SIGKILL and under flipped bits: what is lost, done twice, or wrongly called clean.

    OMP_NUM_THREADS=1 python benchmarks/deletion_safety.py --checkpoint=saved/original-LightGCN-ml-100k-random-2020.pth

Processes are killed half at random moments, half at one of the events of files (a file is opened for writing, renamed,
removed, a folder made) that the same work has when nobody kills it, spread over all of them. They fork, and a forked child
has none of its parent's threads, hence the one thread.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.version.state import State
from recbole_unlearn.errors import UsageError

KILLS = {"publication": 140, "prepare": 50, "exact": 50, "clean-up": 60}
FLIPS = 100
EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "shutil.rmtree"}
UNNOTICED = "not noticed, served as before"
NOW = {"unlearn_quarantine_days": 0, "unlearn_quarantine_versions": 0}  # older versions go at once


def store_of(path: str) -> str:
    """The folder of a checkpoint's store."""
    return service.store_folder(path)


def state_of(path: str) -> State:
    """The current state, which must be readable whatever has happened."""
    return State.load(Store(store_of(path)).current().folder)


def size_of(path: str) -> int:
    """Interactions that remain, in all parts."""
    return sum(len(graph) for graph in state_of(path).graphs().values())


def requests_of(path: str, count: int, seed: int, size: int = 2) -> list[DeletionRequest]:
    """Requests for different training interactions, ``size`` each."""
    state = state_of(path)
    graph = state.graphs()["train"]
    chosen = torch.randperm(len(graph), generator=torch.Generator().manual_seed(seed))[: count * size]
    users, items = state.tokens["user"][graph.users[chosen].numpy()], state.tokens["item"][graph.items[chosen].numpy()]
    rows = [("interaction", user, item) for user, item in zip(users, items)]
    return [DeletionRequest(f"s{seed}-{k}", rows[k * size : (k + 1) * size]) for k in range(count)]


def fresh(master: str, folder: Path) -> str:
    """A copy of a checkpoint and its store."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copy = str(folder / Path(master).name)
    shutil.copy(master, copy)
    if os.path.isdir(store_of(master)):
        shutil.copytree(store_of(master), store_of(copy), symlinks=True)
    return copy


def _is_event(event: str, arguments: tuple) -> bool:
    return event in EVENTS or (
        event == "open" and isinstance(arguments[1], str) and arguments[1] != "r" and "b" in arguments[1]
    )


def in_child(work: Callable[[], object], kill_at: int | None = None, seconds: float | None = None) -> tuple[bool, int]:
    """Run work in a forked child; kill it at an event of files, or after some seconds.

    Returns:
        tuple: whether the child was killed, and how many events it had otherwise.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: tuple) -> None:
            nonlocal count
            if _is_event(event, arguments):
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1

        sys.stdout = sys.stderr = open(os.devnull, "w")
        sys.addaudithook(hook)
        try:
            work()
        except UsageError as error:
            os.write(writing, str(error).encode())
        os.write(writing, f"\n{count}".encode())
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    return os.WIFSIGNALED(status), int(said.rpartition("\n")[2] or 0)


def moments(work: Callable[[], object], count: int, seed: int) -> Iterator[dict]:
    """When to kill: half at events, spread over those that the work has, half at random moments of its time."""
    start = time.perf_counter()
    _, n_events = in_child(work)
    seconds, generator = time.perf_counter() - start, random.Random(seed)
    n_at_events = count // 2
    yield from ({"kill_at": round(k * max(n_events - 1, 0) / max(n_at_events - 1, 1))} for k in range(n_at_events))
    while True:  # a process may end before it is killed
        yield {"seconds": generator.uniform(0, seconds)}


def publication(master: str, folder: Path, count: int) -> str:
    """Requests that are applied one by one; a killed one is given again at the end."""
    path = fresh(master, folder)
    trial = fresh(master, folder / "trial")
    before, requests = size_of(path), requests_of(path, 3 * count, seed=1)
    killed = given = 0
    for request, moment in zip(
        requests, moments(lambda: service.unlearn(trial, requests_of(trial, 1, seed=9)), count, seed=1)
    ):
        killed += in_child(lambda: service.unlearn(path, [request]), **moment)[0]
        given += 1
        state_of(path)
        if killed == count:
            break
    requests = requests[:given]
    service.unlearn(path, requests)
    store = Store(store_of(path))
    done = Counter(each["request_id"] for each in store.requests() if each["status"] == "done")
    once = done == Counter(request.request_id for request in requests)
    exactly = size_of(path) == before - 2 * given
    return f"{killed} killed of {given}; each done once {once}; exactly the named interactions are gone {exactly}; {verified(path)}"


def prepare(master: str, folder: Path, count: int) -> str:
    """The making of a store: it is whole or absent, and nothing half made is left by the next call."""
    path = fresh(master, folder)
    shutil.rmtree(store_of(path))
    killed = tried = 0
    whole = True

    def again() -> None:
        service.prepare(path)

    for moment in moments(again, count, seed=2):
        shutil.rmtree(store_of(path), ignore_errors=True)
        killed, tried = killed + in_child(again, **moment)[0], tried + 1
        if os.path.isdir(store_of(path)):
            state_of(path)
        whole = whole and Store(service.prepare(path).folder).current().number == 1
        if killed == count:
            break
    left = [entry for entry in os.listdir(folder) if "building" in entry]
    return (
        f"{killed} killed of {tried}; the next call made it whole {whole}; left beside it {len(left)}; {verified(path)}"
    )


def exact(master: str, folder: Path, count: int) -> str:
    """Retrainings that the same command takes up again."""
    path = fresh(master, folder)
    trial = fresh(master, folder / "trial")
    before, requests = size_of(path), requests_of(path, 2 * count, seed=3)
    short = {"epochs": 3, "unlearn_least_utility": 0.01}
    killed = given = 0

    def work(target: str, some: list[DeletionRequest]) -> Callable[[], object]:
        return lambda: service.unlearn(target, some, short, exact=True)

    for request, moment in zip(requests, moments(work(trial, requests_of(trial, 1, seed=9)), count, seed=3)):
        killed += in_child(work(path, [request]), **moment)[0]
        given += 1
        state_of(path)
        if killed == count:
            break
    work(path, requests[:given])()
    done = [each for each in Store(store_of(path)).requests() if each["status"] == "done"]
    once, exactly = len(done) == given, size_of(path) == before - 2 * given
    return f"{killed} killed of {given}; each done once {once}; exactly the named interactions are gone {exactly}; {verified(path)}"


def clean_up(master: str, folder: Path, count: int) -> str:
    """The removal of versions whose quarantine is over."""
    path = fresh(master, folder)
    for request in requests_of(path, 3, seed=4):
        service.unlearn(path, [request])
    before, kept = size_of(path), fresh(path, folder / "kept")
    killed = tried = 0

    def work(target: str) -> Callable[[], object]:
        return lambda: service.unlearn(target, (), NOW)

    same = True
    for moment in moments(work(fresh(kept, folder / "trial")), count, seed=4):
        path = fresh(kept, folder / "one")
        killed, tried = killed + in_child(work(path), **moment)[0], tried + 1
        same = same and size_of(path) == before
        work(path)()
        if killed == count:
            break
    folders = os.listdir(Path(store_of(path), "versions"))
    return f"{killed} killed of {tried}; the current version is untouched {same}; folders left {len(folders)}; {verified(path)}"


def verified(path: str) -> str:
    """What ``--verify`` says of a store."""
    found = service.verify(path)
    return f"--verify: {len(found.findings)} findings, {len(found.not_searched)} not searched"


def flips(master: str, folder: Path, count: int) -> str:
    """One flipped bit somewhere in a store's files: a command that uses it refuses, or ``--verify`` finds it, or it means nothing."""
    path = fresh(master, folder)
    service.unlearn(path, requests_of(path, 3, seed=5, size=1))
    kept, before = fresh(path, folder / "kept"), size_of(path)
    files = [file for file in Path(store_of(kept)).rglob("*") if file.is_file() and file.stat().st_size]
    weights, generator, outcomes = [file.stat().st_size for file in files], random.Random(6), Counter()
    for number in range(count):
        path = fresh(kept, folder / "one")
        some = random.Random(number).choice(files) if number % 2 else generator.choices(files, weights)[0]
        file = Path(store_of(path), some.relative_to(store_of(kept)))
        content = bytearray(file.read_bytes())
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        file.write_bytes(content)
        outcome = _outcome(path, before)
        area = "" if outcome != UNNOTICED else f", in {some.relative_to(store_of(kept)).parts[0]}"
        if area == ", in versions":
            area = ", in a version in quarantine"
        outcomes[outcome + area] += 1
    return ", ".join(f"{outcome} {number}" for outcome, number in sorted(outcomes.items()))


def _outcome(path: str, before: int) -> str:
    try:
        found = service.verify(path)
        if found.findings or found.not_searched:
            return "found by --verify"
        service.unlearn(path, requests_of(path, 1, seed=7, size=1))
    except UsageError as error:
        return "refused in one line" if "\n" not in str(error) else "REFUSED IN SEVERAL LINES"
    except Exception as error:
        return f"TRACEBACK {type(error).__name__}"
    return UNNOTICED if size_of(path) == before - 1 else "WRONG"


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--what", default="publication,prepare,exact,clean-up,flips")
    parser.add_argument("--share", type=float, default=1.0, help="of the kills and flips")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    works = {"publication": publication, "prepare": prepare, "exact": exact, "clean-up": clean_up, "flips": flips}
    with tempfile.TemporaryDirectory() as folder:
        master = str(Path(folder, Path(arguments.checkpoint).name))
        shutil.copy(arguments.checkpoint, master)
        service.prepare(master)
        for name in arguments.what.split(","):
            count = max(2, round(arguments.share * {**KILLS, "flips": FLIPS}[name]))
            print(f"{name}: {works[name](master, Path(folder, name), count)}", flush=True)


if __name__ == "__main__":
    main()
