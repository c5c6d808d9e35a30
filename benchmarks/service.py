"""The service under SIGKILL and under load, on loopback.

    python benchmarks/service.py --checkpoint=saved/original-LightGCN-ml-100k-random-2020.safetensors --what=kills
    python benchmarks/service.py --checkpoint=saved/original-LightGCN-ml-100k-random-2020.safetensors --what=load

``kills`` starts a service 100 times on one store, loads it, and kills it at a random moment of three seconds, which begin
with the service or, every other time, when its worker has loaded the model. Server and worker fork from a process that has
imported everything, so that they start at once. ``load`` sends requests at a fixed rate, in a bounded loop, to a service
started as a user starts it: a latency counts from the moment when the request should have left, so that a slow answer does
not slow the clock down.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # how to start a service, and its certificate
from running_service import DOMAIN, Service, until, write_certificate  # noqa: E402

from recbole_unlearn.deletion import service as deletions  # noqa: E402
from recbole_unlearn.deletion.store import Store  # noqa: E402
from recbole_unlearn.deletion.store.layout import store_folder  # noqa: E402
from recbole_unlearn.deletion.version.state import State  # noqa: E402

KILLS, PER_LIFE, FIRST_SECONDS = 100, 40, 3.0
RATE, SECONDS, CONNECTIONS = 200, 30, 32
NOW = ("--unlearn_quarantine_days=0", "--unlearn_quarantine_versions=0")  # older versions go soon
SLOW = 600  # seconds for the last service to finish


def interactions(store: str) -> list[tuple[str, str]]:
    """The training interactions of a store's current version, by tokens, in a random order."""
    state = State.load(Store(store).current().folder)
    graph = state.graphs()["train"]
    users, items = state.tokens["user"][graph.users.numpy()], state.tokens["item"][graph.items.numpy()]
    pairs = list(zip(users.tolist(), items.tolist()))
    random.Random(1).shuffle(pairs)
    return pairs


def fresh(checkpoint: str, folder: Path) -> str:
    """A copy of a checkpoint's store; its folder."""
    deletions.prepare(checkpoint)
    copy = folder / Path(store_folder(checkpoint)).name
    shutil.copytree(store_folder(checkpoint), copy, symlinks=True)
    return str(copy)


def kills(checkpoint: str, number: int, folder: Path) -> None:
    """Kill services, and count what is lost or done twice."""
    store, moments = fresh(checkpoint, folder), random.Random(2)
    pairs, before = interactions(store), len(interactions(store))
    asked: dict[str, tuple[str, str]] = {}
    answered: set[str] = set()
    within = 0  # kills while the store was working on a batch
    multiprocessing.get_context = lambda *_: multiprocessing.context.ForkContext()  # the worker, too, starts at once
    for life in range(number):
        service = Service(folder, Path(store), *NOW)
        if life % 2:  # half of the kills come once the worker has loaded the model
            until(lambda service=service: "store_version 0.0" not in service.client.get("/metrics").text, "a model")
        killer = threading.Timer(moments.uniform(0, FIRST_SECONDS), service.process.kill)
        killer.start()
        for k in range(PER_LIFE):
            name, row = f"r{life}-{k}", pairs[len(asked)]
            asked[name] = row
            try:
                if service.post(name, ("interaction", *row)).status_code == 201:
                    answered.add(name)
            except httpx.TransportError:
                break
            time.sleep(moments.uniform(0, 2 * FIRST_SECONDS / PER_LIFE))
        killer.join()
        service.kill()
        within += Store(store).counts()["running"] > 0
    service = Service(folder, Path(store), *NOW)
    end = time.monotonic() + SLOW
    while any(re.findall(r'requests{state="(?:pending|in_progress)"} [1-9]', service.client.get("/metrics").text)):
        assert time.monotonic() < end, "it does not finish"
        time.sleep(0.5)
    code = service.stop()
    done, found = Store(store).done(), 0
    for receipt in Store(store).receipts(done).values():
        found += receipt["counts"]["found"]
    print(
        f"{number} services killed, {within} of them within a batch; {len(answered)} requests answered, "
        f"{len(answered - done)} of them lost; {len(done - answered)} of {len(asked) - len(answered)} without an "
        f"answer were taken; {len(done)} done, {len(done) - found} applied twice; interactions {before} before, "
        f"{len(interactions(store))} after, expected {before - len(done)}; last exit code {code}"
    )


WARM_UP = 1.0  # seconds until the first request leaves: by then the generator has a task for each


class Connection:
    """One connection that is kept, as light as it can be: the generator has the same two cores."""

    def __init__(self, address: str) -> None:
        self._host, self._port = address.removeprefix("http://").split(":")

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(self._host, int(self._port))

    async def post(self, path: str, key: str, body: bytes) -> int:
        """Send a request; the status code of its answer."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", answer, flags=re.IGNORECASE)
        assert length, answer
        await self._reader.readexactly(int(length[1]))
        return int(answer.split()[1])


async def sent(address: str, key: str, path: str, bodies: list[bytes], rate: float) -> list[tuple[float, int]]:
    """Send bodies at a rate; latency in seconds and status code of each."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        connection = Connection(address)
        await connection.open()
        idle.put_nowait(connection)
    start = time.perf_counter() + WARM_UP

    async def one(number: int, body: bytes) -> tuple[float, int]:
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        connection = await idle.get()
        code = await connection.post(path, key, body)
        idle.put_nowait(connection)
        return time.perf_counter() - due, code

    return await asyncio.gather(*(one(number, body) for number, body in enumerate(bodies)))


def own(number: int, pair: tuple[str, str]) -> bytes:
    """A request for one interaction."""
    row = {"scope": "interaction", "user": pair[0], "item": pair[1]}
    return json.dumps({"request_id": f"load-{number}", "rows": [row]}).encode()


def erasure(number: int, pair: tuple[str, str]) -> bytes:
    """An erasure of a user of whom the model knows nothing, so that the data remain."""
    identity = {"identity_type": "controller_customer_id", "identity_value": f"n{number}", "identity_format": "raw"}
    content = {
        "regulation": "gdpr",
        "subject_request_id": str(uuid.uuid4()),
        "subject_request_type": "erasure",
        "submitted_time": "2026-10-02T15:00:00Z",
        "subject_identities": [identity],
    }
    return json.dumps(content).encode()


def load(checkpoint: str, rate: int, seconds: int, folder: Path) -> None:
    """Send requests of both kinds at a rate, and report latencies and what the worker did meanwhile."""
    store = fresh(checkpoint, folder)
    pairs = interactions(store)
    key, certificate = write_certificate(folder)
    signing = (f"--signing_key={key}", f"--certificate={certificate}", f"--domain={DOMAIN}")
    service = Service(folder, Path(store), *NOW, *signing, environment={})
    service.post("first", ("user", "nobody"))
    service.wait("first")  # the model is loaded
    for path, body_of in (("/requests", own), ("/v2/requests", erasure)):
        bodies = [body_of(number, pairs[number]) for number in range(rate * seconds)]
        done, spent = _completed(service), _seconds_of(service)
        gc.freeze()  # a collection here would hold up the generator, not the service
        answers = asyncio.run(sent(service.url, service.key, path, bodies, rate))
        spent, during = _seconds_of(service) - spent, _completed(service) - done
        times = sorted(latency for latency, _ in answers)
        p50, p95, p99 = (1000 * times[int(len(times) * share)] for share in (0.5, 0.95, 0.99))
        codes = {code: sum(each == code for _, each in answers) for code in sorted({code for _, code in answers})}
        until(lambda done=done: _completed(service) - done == len(bodies), "all done")
        print(
            f"POST {path}: {len(bodies)} at {rate}/s, answers {codes}; p50 {p50:.1f} ms, p95 {p95:.1f}, p99 {p99:.1f}, "
            f"longest {1000 * times[-1]:.0f}; {1000 * spent / len(bodies):.2f} ms of a processor each in the server; "
            f"{during} of them applied meanwhile"
        )
    batches = [float(found) for found in re.findall(r"requests done in ([\d.]+) s", service.log())]
    print(f"{len(batches)} batches, {sum(batches) / len(batches):.2f} s each, the longest {max(batches):.1f} s")
    assert service.stop() == 0


def _seconds_of(service: Service) -> float:
    """Seconds of a processor that the server has had, without its worker."""
    times = psutil.Process(service.process.pid).cpu_times()
    return times.user + times.system


def _completed(service: Service) -> int:
    found = re.search(r'requests{state="completed"} (\d+)', service.client.get("/metrics").text)
    return int(found[1]) if found else 0


def main() -> None:
    """Run what the command line asks for, in a temporary folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--checkpoint", required=True, help="with or without a store")
    parser.add_argument("--what", choices=["kills", "load"], required=True)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--rate", type=int, default=RATE, help="requests a second")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; {subprocess.list2cmdline(sys.argv[1:])}")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "kills":
            kills(arguments.checkpoint, arguments.kills, Path(folder))
        else:
            load(arguments.checkpoint, arguments.rate, arguments.seconds, Path(folder))


if __name__ == "__main__":
    main()
