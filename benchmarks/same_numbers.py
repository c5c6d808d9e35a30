"""Whether two reports of the same command have the same numbers, to the last digit; seconds and memory aside.

    python benchmarks/same_numbers.py before/LightGCN.json after/LightGCN.json

after both commits have run, each in its own checkout,

    OMP_NUM_THREADS=1 python run_unlearn.py --model=LightGCN --dataset=ml-100k --unlearn_methods=all --gpu_id= \
        --unlearn_shard_workers=1 --checkpoint_dir=FOLDER --report_file=FOLDER.json
"""

import json
import math
import sys
from pathlib import Path

OF_THE_MACHINE = ("offline_seconds", "online_seconds", "peak_memory_mb")


def rows_of(path: str) -> dict[tuple[str, str], dict[str, float]]:
    """Each row's numbers by its method and stage."""
    rows = json.loads(Path(path).read_text(encoding="utf-8"))["results"]
    numbers = {
        (row["method"], row["stage"]): {
            name: value for name, value in row.items() if isinstance(value, (int, float)) and name not in OF_THE_MACHINE
        }
        for row in rows
    }
    return numbers


def main(before: str, after: str) -> int:
    """Print a line a row; 1 if any differs."""
    there, here = rows_of(before), rows_of(after)
    different = there.keys() ^ here.keys()
    for row in sorted(there.keys() & here.keys()):
        gaps = {name: abs(there[row][name] - here[row].get(name, math.nan)) for name in there[row]}
        largest = max(gaps, key=gaps.get)
        print(f"{' '.join(row):24s} {len(gaps)} numbers, largest difference {gaps[largest]:.3g} ({largest})")
        if not all(gap == 0 for gap in gaps.values()):
            different.add(row)
    print("equal" if not different else f"different: {sorted(different)}")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
