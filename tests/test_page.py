"""The page of a report: whole in one file, true to the report, and readable in a browser."""

import math
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest
from PIL import Image
from test_figures import report, row, scores

from recbole_unlearn.report.drawings import draw_run, draw_scores
from recbole_unlearn.report.page import page
from recbole_unlearn.report.tables import tables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.draws


@pytest.fixture(scope="module")
def result():
    again = row("Retrain", "again", math.e)
    gif = row("GIF", mi_bf=math.e**3.3, details={"residual": "<b>.6</b>"}, online_seconds=0.01)
    found = report([row("original"), row("Retrain", mi_bf=1.0), again, gif])
    more = {"config": {"forget_users": ["<script>alert(1)</script>"], "epochs": 60}, "data": "d1"}
    return {**found, **more, "interactions": {"training": 9}, "versions": {"code": "c0de"}}


@pytest.fixture(scope="module")
def text(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    arrays = {"original": scores(), "Retrain": scores(), "GIF": scores()}
    draw_scores(result, arrays, folder / "scores.svg")
    draw_run(result, folder / "gaps.svg")
    return page(result, {path.stem: path.read_text() for path in sorted(folder.iterdir())})


def test_it_needs_nothing_outside_and_runs_nothing(text):
    assert text.count("data:image/svg+xml;base64,") == 2
    assert not re.search(r"<script|<link|<iframe|\son\w+=|(src|href)=\"(?!data:)", text)
    assert "&lt;script&gt;" in text and "&lt;b&gt;.6" in text, "values are escaped"


def test_it_has_every_cell_of_the_tables_and_says_the_gaps_in_words(text, result):
    for _, frame in tables(result):
        for cell in frame.to_numpy().ravel():
            assert f">{cell}</td>" in unescape(text)
    assert (
        "GIF ends 3.300 (3.3x) in ln MI-BF and 0.000 (0.0x) in AUC_FN from Retrain, ranks at 1.000 of its ndcg@5, "
        in text
    )
    assert "is 100 times faster." in text
    assert "Retrain again ends" not in text


def test_the_same_report_gives_the_same_page(text, result, tmp_path):
    arrays = {"original": scores(), "Retrain": scores(), "GIF": scores()}
    for name in ("one.svg", "two.svg"):
        draw_scores(result, arrays, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


FRAME = """<body style="margin:0"><iframe src="page.html" width="{}" height="990" style="border:0"></iframe>
<script>onmessage = event => document.title = event.data</script>"""
TELL = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script>"


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(text, tmp_path, width, scheme):
    """It logs no error, is no wider than its window (a frame: Chromium's own has 500 pixels at least), and dark for
    readers who want that."""
    (tmp_path / "page.html").write_text(text + TELL)
    (tmp_path / "frame.html").write_text(FRAME.format(width))
    address, picture = (tmp_path / "frame.html").as_uri(), tmp_path / "page.png"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=5000"]
    command += ["--blink-settings=preferredColorScheme=0"] * (scheme == "dark")
    dumped = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in dumped.stderr
    assert int(re.search(r"<title>(\d+)</title>", dumped.stdout)[1]) <= width
    subprocess.run([*command, f"--screenshot={picture}", address], capture_output=True, timeout=120, check=True)
    with Image.open(picture) as drawn:
        pixels = np.asarray(drawn.convert("L"), dtype=float)[:990, :width]
    assert (pixels[5, 5] < 60) == (scheme == "dark")
    assert pixels.std() > 10, "something is drawn"
