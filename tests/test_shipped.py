"""The page of ml-100k with the shipped settings: which reports share a table, and what is kept of them."""

import json
from dataclasses import replace

import pytest
import shipped
from reproduced import cell_of, report_of, row

from recbole_unlearn.evaluator.comparison import Comparison


def report(*rows, request="adversarial", **changes):
    """A report of some rows beside Retrain's two."""
    cell = replace(cell_of("Retrain"), dataset="ml-100k", request=request)
    made = report_of(cell, row("original"), row("Retrain"), row("Retrain", "again", **{"MI-BF": 2.2}), *rows)
    return {
        **made,
        "gaps": Comparison(made["results"]).gaps(),
        "config": {"data_path": "/here", "epochs": 3},
        **changes,
    }


GIF = row("GIF", **{"MI-BF": 2.42})


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Kept reports and the page in a folder of their own."""
    monkeypatch.setattr(shipped, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(shipped, "PAGE", tmp_path / "shipped.md")
    return tmp_path


def write(folder, **reports):
    paths = [folder / f"{name.replace('_', '-')}.json" for name in reports]
    for path, content in zip(paths, reports.values()):
        path.write_text(json.dumps(content), encoding="utf-8")
    return list(map(str, paths))


def test_reports_of_several_seeds_share_a_table(folders):
    summary = {"model": "LightGCN", "dataset": "ml-100k", "forget": "adversarial", "seeds": [1, 2], "results": []}
    files = write(
        folders,
        users=report(GIF, seed=1, request="user"),
        two=report(GIF, seed=2),
        one=report(row("GIF", **{"MI-BF": 2.2}), seed=1),
        summary=summary,
    )
    assert shipped.main(files) == 0
    assert sorted(path.name for path in (folders / "kept").iterdir()) == ["one.json", "two.json", "users.json"]
    assert "/here" not in (folders / "kept" / "one.json").read_text()
    first, second = shipped.PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    assert first.startswith("LightGCN on ml-100k, adversarial edges, seeds 1, 2\n")
    assert second.startswith("LightGCN on ml-100k, users, seed 1\n")
    assert "| 0.10 / 0.19 (1.5x) |" in first and "| 0.19 (2.0x) |" in second
    drawn = shipped.PAGE.read_text(encoding="utf-8")
    assert shipped.main([]) == 0 and shipped.PAGE.read_text(encoding="utf-8") == drawn


def test_lists_are_shown_where_a_report_has_them(folders):
    gif = report(GIF, seed=1)
    assert "Jaccard@20" not in shipped.page([gif])
    gif["gaps"][-1] |= {"jaccard@20": 0.5, "D": 1.25, "over_forgotten": 0.031}
    (table,) = [part for part in shipped.page([gif]).split("\n\n") if "Jaccard@20" in part]
    assert table.splitlines()[2:] == ["| GIF | 0.500 |  | 1.25 |  | 3% |  |  |"]


@pytest.mark.parametrize(
    ("content", "told"),
    [("{", "is no report"), ("[]", "is no report"), ('{"model": "SGL"}', "is no report")],
)
def test_another_file_is_refused(folders, capsys, content, told):
    (folders / "some.json").write_text(content, encoding="utf-8")
    assert shipped.main([str(folders / "some.json")]) == 2
    assert told in capsys.readouterr().err and not shipped.PAGE.exists()


def test_two_reports_of_one_run_are_refused(folders, capsys):
    assert shipped.main(write(folders, one=report(GIF, seed=1), again=report(GIF, seed=1))) == 2
    assert "LightGCN on ml-100k, adversarial request are of one seed (1, 1)" in capsys.readouterr().err
