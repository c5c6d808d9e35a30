"""Throughput and memory of ``run-unlearn filter``, each call a process of its own: CPU seconds, and its peak RSS.

python benchmarks/suppression.py --folder=/tmp/suppression --rows=10000000
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.deletion.store import Store
from recbole_unlearn.deletion.verify.sought import WORDS_ARE_HASHED, hashes_of

PART = 1_000_000  # rows that are made at a time
SEED = 2020
KINDS = {"few": (10_000, 1_000, 10_000), "many": (0, 0, 200_000)}  # users, items, interactions erased


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="for files and stores, some gigabytes")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=200_000)
    arguments = parser.parse_args()
    folder = Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {kind: written(folder, kind, arguments) for kind in WRITERS}
    stores = {
        kind: store_of(folder / f"{kind.replace(' ', '-')}.store", *numbers, arguments)
        for kind, numbers in KINDS.items()
    }
    nothing = folder / "nothing.inter"
    nothing.write_text("user_id:token\titem_id:token\n")
    print("| store | file | GB | rows dropped | CPU s | rows a CPU second | wall s | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for store in stores:
        start, wall, peak, _ = measured(nothing, stores[store])
        print(f"| {store} | no rows | 0 | 0 | {start:.1f} | | {wall:.1f} | {peak:.0f} |", flush=True)
        for kind, path in files.items():
            seconds, wall, peak, dropped = measured(path, stores[store])
            size, speed = path.stat().st_size / 1e9, arguments.rows / (seconds - start)
            numbers = f"{dropped:,} | {seconds:.1f} | {speed:,.0f} | {wall:.1f} | {peak:.0f}"
            print(f"| {store} | {kind} | {size:.2f} | {numbers} |", flush=True)


def measured(path, store):
    """CPU seconds and seconds of a call, its peak memory in MB, and the number of dropped rows."""
    output = path.with_name(f"out{path.suffix}")
    # The peak of the process's own memory: what `resource` gives includes that of the process it was forked from.
    code = (
        "import os, re, sys; from pathlib import Path; from recbole_unlearn import command_line\n"
        "from recbole_unlearn.commands import filter as command\n"
        "command.run(command_line.parse(['filter', *sys.argv[1:]])[1])\n"
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]\n"
        "print('measured', sum(os.times()[:2]), peak)"
    )
    line = [sys.executable, "-c", code, f"--store={store}", str(path), f"--output={output}"]
    begun = time.perf_counter()
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    wall = time.perf_counter() - begun
    kept, of_all = (int(text.replace(",", "")) for text in said.split(": ")[1].split(" rows")[0].split(" of "))
    seconds, peak = said.split("measured ")[1].split()
    os.remove(output)
    return float(seconds), wall, int(peak) / 1e3, of_all - kept


def parts(arguments):
    """Rows of random users and items, the same at each call; ids as text, as most services have them."""
    generator = np.random.default_rng(SEED)
    for start in range(0, arguments.rows, PART):
        number = min(PART, arguments.rows - start)
        users, items = generator.integers(0, arguments.users, number), generator.integers(0, arguments.items, number)
        times = generator.integers(1_700_000_000, 1_790_000_000, number)
        columns = {"user_id:token": named("u", users), "item_id:token": named("i", items)}
        yield pa.table({**columns, "rating:float": np.full(number, 4), "timestamp:float": times})


def named(letter, numbers):
    return pc.binary_join_element_wise(letter, pa.array(numbers).cast(pa.string()), "")


def write_text(path, arguments):
    separator, quotes = ("\t", "none") if path.suffix == ".inter" else (",", "all_valid")
    options = arrow_csv.WriteOptions(include_header=False, delimiter=separator, quoting_style=quotes)
    with open(path, "wb") as file:
        for place, part in enumerate(parts(arguments)):
            if not place:
                file.write((separator.join(part.column_names) + "\n").encode())
            arrow_csv.write_csv(part, file, options)


def write_parquet(path, arguments):
    writer = None
    for part in parts(arguments):
        part = part.rename_columns([name.partition(":")[0] for name in part.column_names])
        writer = writer or pq.ParquetWriter(path, part.schema)
        writer.write_table(part)
    writer.close()


WRITERS = {".inter": write_text, ".parquet": write_parquet, ".csv, all cells quoted": write_text}


def written(folder, kind, arguments):
    path = folder / f"new{kind.partition(',')[0]}"
    if not path.exists():
        WRITERS[kind](path, arguments)
    return path


def store_of(folder, users, items, interactions, arguments):
    """A store that has forgotten so many users, items and interactions, drawn at random."""
    if folder.exists():
        return folder
    generator = np.random.default_rng(SEED + 1)
    rows = [("user", f"u{user}", None) for user in generator.choice(arguments.users, users, replace=False)]
    rows += [("item", None, f"i{item}") for item in generator.choice(arguments.items, items, replace=False)]
    ends = generator.integers(0, (arguments.users, arguments.items), (interactions, 2)).tolist()
    rows += [("interaction", f"u{user}", f"i{item}") for user, item in ends]
    store = Store.create(str(folder), lambda place: None)
    request = DeletionRequest("r", rows)
    with store.locked(0):
        store.submit([request])
        hashes = [*hashes_of(request.rows, store.keyed_hash), store.keyed_hash(*WORDS_ARE_HASHED)]
        store.finish({"r": {"rows": []}}, {"r": hashes})
    return folder


if __name__ == "__main__":
    main()
