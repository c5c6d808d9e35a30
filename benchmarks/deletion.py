"""Deletion requests against a saved model: latency, a sequence against its union, and kills at random moments.

    OMP_NUM_THREADS=1 python benchmarks/deletion.py --checkpoint=saved/original-LightGCN-ml-1m-random-2021.safetensors --what=kills

The revision is timed while the old model is measured beside it, as in a call.

(``kills`` forks, and a forked child has none of its parent's threads; ``latency`` and ``sequence`` take as many as there are.)
"""

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from recbole_unlearn.data.request import random_edges
from recbole_unlearn.deletion import service
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.version.state import State
from recbole_unlearn.encoder.snapshot import Snapshot
from recbole_unlearn.evaluator.ranking import ranking_metrics

SIZES, REPETITIONS = (1, 10, 100), 20
SEQUENCE, KILLS, BATCH = 100, 200, 100_000


def fresh_store(checkpoint, folder):
    """A copy of the checkpoint's store in a folder, made once beside the checkpoint; the path to give as checkpoint."""
    store = service.prepare(checkpoint)
    copy = os.path.join(folder, os.path.basename(checkpoint))
    shutil.rmtree(service.store_folder(copy), ignore_errors=True)
    shutil.copytree(store.folder, service.store_folder(copy), symlinks=True)
    return copy


def interactions(checkpoint, count, seed):
    """Tokens of random training interactions, ``(user, item)`` each."""
    state = State.load(Store(service.store_folder(checkpoint)).current().folder)
    graph = state.graphs()["train"]
    chosen = torch.randperm(len(graph), generator=torch.Generator().manual_seed(seed))[:count]
    users, items = (graph.users[chosen].numpy(), graph.items[chosen].numpy())
    return list(zip(state.tokens["user"][users], state.tokens["item"][items]))


def request_of(name, pairs):
    return DeletionRequest(name, tuple(("interaction", user, item) for user, item in pairs))


def latency(checkpoint, folder):
    """Seconds of the online part, from loading to the published model, of requests of several sizes."""
    copy = fresh_store(checkpoint, folder)
    pairs = interactions(copy, REPETITIONS * sum(SIZES) + 1, seed=1)
    service.unlearn(copy, [request_of("warm-up", [pairs.pop()])])
    state = State.load(Store(service.store_folder(copy)).current().folder)
    for size in SIZES:
        whole, revision, encoder = [], [], []
        for repetition in range(REPETITIONS):
            request = request_of(f"{size}-{repetition}", [pairs.pop() for _ in range(size)])
            start = time.perf_counter()
            result = service.unlearn(copy, [request])
            whole.append(time.perf_counter() - start)
            seconds = result["receipts"][request.request_id]["seconds"]
            revision.append(seconds["revision"])
            encoder.append(seconds_of_encoder(state, size, seed=repetition))
        print(
            f"  {size:3d} interactions, {REPETITIONS} requests: whole p50 {np.quantile(whole, 0.5):.2f} s, "
            f"p95 {np.quantile(whole, 0.95):.2f} s; revision p95 {1e3 * np.quantile(revision, 0.95):.0f} ms; encoder p95 "
            f"{1e3 * np.quantile([own for own, _ in encoder], 0.95):.0f} ms besides the snapshot of p95 "
            f"{1e3 * np.quantile([snapshot for _, snapshot in encoder], 0.95):.0f} ms",
            flush=True,
        )


def seconds_of_encoder(state, size, seed):
    """An encoder call on a request of random edges: its own seconds, and those of the snapshot that it starts from."""
    graph = state.graphs()["train"]
    request = random_edges(graph, size, torch.Generator().manual_seed(seed))
    remaining = graph.without(request.users, request.items)
    start = time.perf_counter()
    snapshot = Snapshot.of(state.model)
    of_snapshot = time.perf_counter() - start
    start = time.perf_counter()
    state.encoder(state.model, remaining, request, snapshot)
    return time.perf_counter() - start, of_snapshot


def sequence(checkpoint, folder):
    """Requests one by one against one of their union: the remaining data and validation NDCG@20."""
    pairs = interactions(checkpoint_with_store(checkpoint), 10 * SEQUENCE, seed=2)
    requests = [request_of(f"r{k}", pairs[10 * k : 10 * k + 10]) for k in range(SEQUENCE)]
    states = []
    for name, batches in (("sequence", [[request] for request in requests]), ("union", [[request_of("all", pairs)]])):
        copy = fresh_store(checkpoint, os.path.join(folder, name))
        for batch in batches:
            service.unlearn(copy, batch)
        states.append(State.load(Store(service.store_folder(copy)).current().folder))
    one, other = (state.graphs() for state in states)
    same = all(
        torch.equal(one[part].users, other[part].users) and torch.equal(one[part].items, other[part].items)
        for part in one
    )
    ndcg = [
        ranking_metrics(s.model.final_embeddings(), s.model.graph, s.held_out["valid"], 20)["ndcg@20"] for s in states
    ]
    print(
        f"  {SEQUENCE} requests of 10 interactions against their union: same remaining data {same}, "
        f"NDCG@20 {ndcg[0]:.5f} and {ndcg[1]:.5f}, difference {ndcg[0] - ndcg[1]:+.5f}",
        flush=True,
    )


def checkpoint_with_store(checkpoint):
    service.prepare(checkpoint)
    return checkpoint


def batch(checkpoint, folder):
    """Many requests of one interaction in one file: seconds and disk of the whole call, and what ``--verify`` says then."""
    copy = fresh_store(checkpoint, folder)
    rows = [f"b{number},{user},{item}" for number, (user, item) in enumerate(interactions(copy, BATCH, seed=6))]
    requests = Path(folder, "requests.csv")
    requests.write_text("request_id,user_id,item_id\n" + "\n".join(rows) + "\n", encoding="utf-8")
    before, start = size_on_disk(copy), time.perf_counter()
    service.unlearn(copy, str(requests), force=True)  # a tenth of ml-1m: a fall in ranking is no surprise
    seconds, after = time.perf_counter() - start, size_on_disk(copy)
    start = time.perf_counter()
    clean = service.verify(copy).is_clean()
    print(
        f"  {len(rows)} requests in one file: {seconds:.1f} s; the store grows from {before / 1e6:.0f} to {after / 1e6:.0f} MB; "
        f"--verify {time.perf_counter() - start:.1f} s, clean {clean}",
        flush=True,
    )


def size_on_disk(checkpoint):
    """Bytes of the files of a checkpoint's store."""
    return sum(file.stat().st_size for file in Path(service.store_folder(checkpoint)).rglob("*") if file.is_file())


def kills(checkpoint, folder):
    """Processes that apply requests, killed at random moments; then everything is checked."""
    copy = fresh_store(checkpoint, folder)
    pairs = interactions(copy, 4 * KILLS, seed=3)
    requests = [
        request_of(f"k{k}", pairs[2 * k : 2 * k + 2]) for k in range(2 * KILLS)
    ]  # some end before they are killed
    randomness = random.Random(4)
    start = time.perf_counter()
    service.unlearn(copy, [request_of("timing", interactions(copy, 1, seed=5))])
    typical = time.perf_counter() - start
    killed = finished = 0
    for request in requests:
        if killed == KILLS:
            break
        child = os.fork()
        if child == 0:
            service.unlearn(copy, [request])
            os._exit(0)
        time.sleep(randomness.uniform(0, typical))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed, finished = killed + os.WIFSIGNALED(status), finished + (not os.WIFSIGNALED(status))
        store = Store(service.store_folder(copy))
        State.load(store.current().folder)  # the current version is readable at once, whatever happened
    service.unlearn(copy, requests)  # runs again what was lost before it was taken in
    store = Store(service.store_folder(copy))
    done = [each["request_id"] for each in store.requests() if each["status"] == "done"]
    once = sorted(done) == sorted(["timing", *(request.request_id for request in requests)])
    found = [store.receipt(request.request_id)["counts"]["found"] for request in requests]
    remaining = State.load(store.current().folder)
    left = sum(len(graph) for graph in remaining.graphs().values())
    expected = sum(len(graph) for graph in State.load(service.prepare(checkpoint).current().folder).graphs().values())
    print(
        f"  {killed} processes killed, {finished} had ended before; each request done once {once}; all rows found "
        f"{set(found) == {2}}; remaining interactions {left}, expected {expected - len(pairs) - 1}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--what", default="latency,sequence,kills")
    arguments = parser.parse_args()
    print(f"{arguments.checkpoint}, {torch.get_num_threads()} thread(s)")
    with tempfile.TemporaryDirectory(dir=os.path.dirname(arguments.checkpoint) or ".") as folder:
        for name in arguments.what.split(","):
            {"latency": latency, "sequence": sequence, "kills": kills, "batch": batch}[name](
                arguments.checkpoint, folder
            )


if __name__ == "__main__":
    main()
