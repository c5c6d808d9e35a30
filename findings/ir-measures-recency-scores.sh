#!/usr/bin/env bash
# ir_measures: RR = 0.33 and RR@10 = 1.0 of one list, because scores are compared as float32 and ties go by the item's
# name
#
# Expected: three different timestamps as scores (a "most recent first" baseline) are three ranks, and RR is at least
#           RR@10: cutting a list can only take hits away.
# Happens:  RR, AP, nDCG and P@k come from trec_eval, which holds scores as 32-bit floats: seconds since 1970 come in
#           steps of 128, so 1605118216, ...215 and ...210 are one score, and equal scores are ordered by item name,
#           last name first. RR@k comes from another provider in the same call, which compares doubles. ranx agrees
#           with the latter.
# Versions: ir-measures 0.4.3, pytrec-eval-terrier 0.5.11, ranx 0.3.21, numpy 2.4.6
# Matters:  the metrics of any score above 2^24 (times, view counts, packed ranks) depend on how items are called, and
#           mix two orders in one table. Renaming the items changes nDCG; retokenising after a deletion does that.
# Output:   ir_measures 0.4.3, pytrec-eval-terrier 0.5.11, ranx 0.3.21: the most recent item is the relevant one: RR
#           0.333, RR@10 1.000,
#           nDCG@10 0.500, P@1 0.000, ranx mrr 1.000; with the names the other way round: RR 1.000, RR@10 1.000,
#           nDCG@10 1.000, P@1 1.000
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet ir-measures==0.4.3 pytrec-eval-terrier==0.5.11 ranx==0.3.21 \
    numpy==2.4.6 pandas==3.1.1
cd "$work"
HOME="$work" "$work/venv/bin/python" -I -W ignore - <<'PY'
from importlib.metadata import version

import ir_measures
import ranx
from ir_measures import RR, P, nDCG

SECONDS = (1605118216, 1605118215, 1605118210)


def measured(names: str) -> list[float]:
    """RR, RR@10, nDCG@10, P@1 and ranx's mrr when the item with the latest second is relevant."""
    relevant = {"user": {names[0]: 1}}
    run = {"user": {name: float(second) for name, second in zip(names, SECONDS)}}
    measures = [RR, RR @ 10, nDCG @ 10, P @ 1]
    values = ir_measures.calc_aggregate(measures, relevant, run)
    peer = ranx.evaluate(ranx.Qrels(relevant), ranx.Run(run), "mrr")
    return [round(float(value), 3) for value in (*(values[measure] for measure in measures), peer)]


first, renamed = measured("abc"), measured("cba")
print(", ".join(f"{name} {version(name)}" for name in ("ir-measures", "pytrec-eval-terrier", "ranx")))
for what, values in (("names in order of recency", first), ("the other way round", renamed)):
    print(f"{what}: RR {values[0]}, RR@10 {values[1]}, nDCG@10 {values[2]}, P@1 {values[3]}, ranx mrr {values[4]}")
assert first == [0.333, 1.0, 0.5, 0.0, 1.0]
assert renamed == [1.0, 1.0, 1.0, 1.0, 1.0]
PY
