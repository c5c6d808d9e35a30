"""A report as one self-contained HTML page: what was found in sentences, the tables, the figures, the settings."""

import base64
import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from recbole_unlearn.report.tables import NAMES, headline, in_floors, label, notes, tables

TEMPLATE = Path(__file__).with_name("page.html")
MEASURES = {"MI-BF_gap": "ln MI-BF", "AUC_FN_gap": "AUC_FN"}  # that the sentences name


def page(result: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """A report as HTML without outside resources or scripts, every value escaped.

    Args:
        result: a report; see :meth:`recbole_unlearn.report.report.Report.finish`.
        figures: caption to an SVG.
    """
    sources = {caption: base64.b64encode(svg.encode()).decode() for caption, svg in figures.items()}
    return _template().render(
        title=f"{result['model']} on {result['dataset']} forgets",
        headline=headline(result),
        findings=[found for gap in result["gaps"] for found in [_finding(gap)] if found],
        notes=notes(result["results"]),
        tables=[(title, list(frame), frame.to_numpy().tolist()) for title, frame in tables(result)],
        n_names=len(NAMES),
        figures=sources,
        settings={name: json.dumps(value, default=str) for name, value in sorted(result["config"].items())},
        provenance={
            "interactions": ", ".join(f"{number} {part}" for part, number in result["interactions"].items()),
            "digest of the data": result["data"],
            **result["versions"],
        },
    )


def _finding(gap):
    """A row's distance from Retrain in a sentence; empty for further Retrains, which are the floor itself."""
    if gap["method"] == "Retrain":
        return ""
    distances = [
        f"{gap[key]:.3f}{in_floors(gap.get(f'{key}_floors'))} in {name}"
        for key, name in MEASURES.items()
        if not math.isnan(gap.get(key, math.nan))
    ]
    ratio, speed = next((key for key in reversed(gap) if key.endswith("_ratio")), None), gap.get("speed_up")
    more = [f"ranks at {gap[ratio]:.3f} of its {ratio.removesuffix('_ratio')}"] if ratio else []
    more += [f"is {speed:,.0f} times faster"] if speed and math.isfinite(speed) and speed >= 2 else []
    return f"{label(gap)} ends {' and '.join(distances)} from Retrain" + "".join(f", {said}" for said in more) + "."


@functools.cache
def _template():
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
