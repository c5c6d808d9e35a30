"""The page of the paper's tables and figures: what it shows of the cells that are there."""

import math
import os
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from reproduced import SIZES, base_of, cell_of, keep, row, stages_of, tables_of, usual_cells
from reproduction import experiments, figures, paper
from reproduction.cells import ROOT, SEEDS, Cell
from reproduction.document import render
from reproduction.experiments import PAPERS_ENCODER, STAGES, all_cells
from reproduction.summary import summary
from test_report import PNG

from recbole_unlearn.errors import UsageError

pytestmark = pytest.mark.draws
USUAL = "LightGCN on ml-1m, adversarial edges, d64"


@pytest.mark.parametrize("model, gaps", [("LightGCN", (0.41, 0.38)), ("SimGCL", (0.67, 0.52)), ("SGL", (0.40, 0.19))])
def test_the_papers_own_gaps_on_ml_1m(model, gaps):
    retrain, unlearned = (paper.table_2("ml-1m", model, method) for method in ("Retrain", "UnlearnRec"))
    assert tuple(round(abs(math.log(unlearned[metric] / retrain[metric])), 2) for metric in ("MI-BF", "MI-NG")) == gaps


def test_the_paper_has_no_number_of_other_rows():
    assert (
        paper.table_2("ml-1m", "LightGCN", "IFRU")
        == paper.table_2("ml-100k", "LightGCN", "GIF")
        == paper.table_2("ml-1m", "BPR", "GIF")
        == {}
    )
    assert paper.table_3("ml-1m", "SimGCL", "L_S") == paper.table_3("ml-1m", "SGL", "L_U") == paper.table_5(0.04) == {}
    assert paper.table_4("ml-1m", "DropEdges") is None and paper.table_4("ml-100k", "GIF") is None
    assert paper.table_3("ml-1m", "SimGCL", "nothing") == paper.table_2("ml-1m", "SimGCL", "UnlearnRec"), (
        "the same row, printed twice"
    )


def metrics(mi_bf, ndcg=0.3, online=2.0):
    return {"MI-BF": mi_bf, "ndcg@20": ndcg, "online_seconds": online}


def test_gaps_are_to_retrain_of_the_same_seed(tmp_path):
    pairs = {2021: (4.0, 8.0), 2022: (20.0, 10.0)}  # UnlearnRec's, Retrain's
    for seed, (unlearned, retrained) in pairs.items():
        keep(
            tmp_path, cell_of(seed=seed), row("original", ndcg=0), row("UnlearnRec", "zero-shot", **metrics(unlearned))
        )
        keep(
            tmp_path, cell_of("Retrain", seed=seed), row("original"), row("Retrain", **metrics(retrained, online=seed))
        )
    cells = {name: [cell_of(name, seed=seed) for seed in SEEDS] for name in ("UnlearnRec", "Retrain")}
    rows = summary(tmp_path, cells)
    assert set(rows) == {("original", ""), ("UnlearnRec", "zero-shot"), ("Retrain", "")}
    ours = rows["UnlearnRec", "zero-shot"]
    assert rows["original", ""]["n"] == ours["n"] == 2
    assert (ours["MI-BF"]["mean"], ours["MI-BF"]["values"]) == (12, [4, 20])
    assert ours["MI-BF"]["sd"] == pytest.approx(16 / math.sqrt(2))
    assert ours["MI-BF_gap"]["values"] == pytest.approx([math.log(2)] * 2), "8 / 4 and 20 / 10, not 15 / 12"
    assert ours["speed_up"]["mean"] == pytest.approx((2021 + 2022) / 2 / 2)
    assert summary(tmp_path, {"GIF": [cell_of("GIF")]}) == {}


def keep_on(folder, machines):
    """Keep a cell of each method, run on the given machine."""
    for method, machine in machines.items():
        keep(folder, cell_of(method), versions={"machine": machine})
    return {method: [cell_of(method)] for method in machines}


def test_seconds_of_two_machines_are_not_compared(tmp_path):
    cells = keep_on(tmp_path, {"Retrain": "a CPU", "GIF": "a CPU", "CEU": "a GPU"})
    rows = summary(tmp_path, cells)
    assert rows["GIF", ""]["speed_up"]["mean"] == 1 and rows["GIF", ""]["machines"] == ["a CPU"]
    assert rows["CEU", ""]["speed_up"]["mean"] is None and rows["CEU", ""]["machines"] == ["a GPU"]
    assert rows["CEU", ""]["MI-BF_gap"]["mean"] == 0, "what it forgot is compared"
    shown = tables_of(render(tmp_path))["Table 4", USUAL]
    assert [shown[name]["times faster than Retrain"] for name in ("GIF", "CEU")] == ["1 [146]", "[174]"]
    assert shown["CEU"]["machine"] == "a GPU" and "IFRU" not in shown
    assert "\n\nMachine: a CPU; of CEU: a GPU.\n" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_figure_4_has_no_bar_of_another_machine_than_retrains(tmp_path, monkeypatch):
    keep_on(tmp_path, {"GIF": "a GPU", "Retrain": "a CPU", "CEU": "a CPU"})
    drawn = []
    monkeypatch.setattr(figures, "_write", lambda drawing, path: drawn.append(drawing))
    assert figures.figure_4(tmp_path, [base_of("figure 4")], "unused.png")
    (panel,) = drawn[0].axes
    assert panel.get_title() == "LightGCN on ml-1m\na CPU"
    assert [label.get_text() for label in panel.get_yticklabels()] == ["Retrain", "CEU"]


@pytest.fixture
def kept(tmp_path):
    """Keep a cell of Table 2, Retrain's besides, and get its table: ``kept("GIF", row(...))``."""

    def keep_and_render(method, *rows, changes=()):
        keep(tmp_path, cell_of("Retrain"))
        keep(tmp_path, cell_of(method, *changes), *rows)
        return tables_of(render(tmp_path))["Table 2", USUAL]

    return keep_and_render


COSTS = {"offline_seconds": 0.0, "online_seconds": None, "peak_memory_mb": None}
NO_RESULT = {"method": "GIF", "stage": "", **COSTS, "details": {"no result": "it exploded"}}


def test_no_result_and_not_run_are_told_apart(kept, tmp_path):
    shown = kept("GIF", row("original"), NO_RESULT)
    assert shown["GIF"]["Recall@20"] == "no result [0.2111]" and shown["GIF"]["seeds"] == "0"
    assert list(shown) == ["original", "Retrain", "Retrain again", "GIF"]
    (others,) = re.findall(
        "Rows not run: (.*)\\.", (tmp_path / "README.md").read_text(encoding="utf-8").split("Table 4")[0]
    )
    assert {"CEU", "DropEdges", "UnlearnRec zero-shot"} < set(others.split("; "))


def test_a_gap_reads_in_floors_and_has_a_number_of_each_seed(tmp_path):
    gaps = {2021: 1.1, 2022: 1.21, 2023: 1.331}  # UnlearnRec's MI-BF, as a multiple of Retrain's; the floor is ln 1.1
    for seed, times in gaps.items():
        keep(tmp_path, cell_of("Retrain", seed=seed))
        keep(tmp_path, cell_of(seed=seed), row("UnlearnRec", "zero-shot", **{"MI-BF": 2.0 * times, "MI-NG": 1.2}))
    shown = tables_of(render(tmp_path))["Table 2", USUAL]
    line = shown["UnlearnRec zero-shot"]
    assert line["gap MI-BF"] == "0.10 / 0.19 / 0.29 (2.0x) [0.41]" and line["MI-BF"] == "2.43 [6.51]", (
        "the mean of 2.2, 2.42 and 2.662"
    )
    assert line["gap MI-NG"] == "0.22 / 0.22 / 0.22 [0.38]", "no floor of nothing"
    assert line["NDCG / Retrain's"] == "1.000 / 0.968 / 0.938 [0.999]"
    assert shown["Retrain again"]["gap MI-BF"] == "0.10 / 0.10 / 0.10 (1.0x)"


def test_what_a_reader_must_know_of_a_row_stands_below_the_table(kept, tmp_path):
    flat = {**row("GIF", **{"MI-BF": 1.0}), "remarks": ["flat scores"], "details": {"residual": "0.91"}}
    kept("GIF", row("original"), flat)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\n- GIF: flat scores; its equations are not solved (residual 0.91, 1 is no step at all)\n" in text


def test_cells_of_other_interactions_are_not_compared(tmp_path):
    retrain, gif = cell_of("Retrain"), cell_of("GIF")
    keep(tmp_path, retrain)
    keep(tmp_path, gif, data="another request")
    with pytest.raises(UsageError, match="GIF-2021 is of other interactions"):
        summary(tmp_path, {"Retrain": [retrain], "GIF": [gif]})


@pytest.mark.parametrize(
    "name, stages", [("UnlearnRec", ()), (PAPERS_ENCODER, ()), (PAPERS_ENCODER, ("zero-shot",))], ids=str
)
def test_unlearnrec_without_a_result_leaves_the_page_whole(kept, name, stages):
    rows = *(row("UnlearnRec", stage) for stage in stages), {**NO_RESULT, "method": "UnlearnRec"}
    shown = kept("UnlearnRec", *rows, changes=experiments.METHODS[name][1])
    assert shown[f"{name} {STAGES[name][-1]}"]["Recall@20"].startswith("no result")


def test_an_undefined_number_and_retrains_gaps_to_itself_are_shown_empty(kept):
    assert kept("Retrain")["Retrain"]["gap MI-BF"] == ""
    shown = kept("GIF", row("GIF", **{"MI-BF": None}))["GIF"]
    assert (shown["MI-BF"], shown["gap MI-BF"], shown["MI-NG"]) == ("[1.04]", "[2.24]", "1.50 [0.94]")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """The page of all usual cells."""
    folder = tmp_path_factory.mktemp("everything")
    for cell in usual_cells():
        keep(folder, cell, **({} if cell.method == "Retrain" else {"scores": {}}))  # fewer panels to draw
    return render(folder)


def test_the_page_shows_all_that_was_run(everything):
    text = everything.read_text(encoding="utf-8")
    (not_run,) = re.findall(r"^Not run on today's code: Table 2 \((.*)\)\.$", text, flags=re.MULTILINE)
    assert not_run == "LightGCN, SGL, SimGCL on ml-1m, gowalla, yelp2018, adversarial edges, d128"
    assert len(tables_of(everything)) == 3 * 9 + 2 + 3 + 1
    assert "Rows not run" not in text and "±" not in text


def test_every_picture_of_the_page_is_there(everything):
    pictures = re.findall(r"!\[(.*)\]\((.*)\)", everything.read_text(encoding="utf-8"))
    assert len(pictures) == len({path for _, path in pictures}) == 9 + 3 + 3 + 1 + 1 + 3
    assert all((everything.parent / path).read_bytes().startswith(PNG) for _, path in pictures)
    assert ("Figure 4: memory, d64, LightGCN", "figures/figure-4-d64-LightGCN.png") in pictures


@pytest.mark.parametrize("dataset", experiments.DATASETS)
@pytest.mark.parametrize("model", experiments.MODELS)
def test_table_2_has_the_papers_number_behind_ours(everything, model, dataset):
    shown = tables_of(everything)["Table 2", f"{model} on {dataset}, adversarial edges, d64"]
    for name in ("GIF", "Retrain", "UnlearnRec zero-shot", f"{PAPERS_ENCODER} fine-tuned"):
        printed = paper.table_2(dataset, model, "UnlearnRec" if "UnlearnRec" in name else name)
        ours, seeds = ("0.3000", "1") if name == "GIF" else ("0.3100", "3")
        assert (shown[name]["NDCG@20"], shown[name]["seeds"]) == (f"{ours} [{printed['ndcg@20']:.4f}]", seeds)
        assert shown[name]["MI-BF"].endswith(f" [{printed['MI-BF']:.2f}]")
    others = [shown[name] for name in ("IFRU", "DropEdges", f"{PAPERS_ENCODER} zero-shot", "original")]
    others += tables_of(everything)["Table 2", f"{model} on {dataset}, users, d64"].values()
    assert not any("[" in cell for line in others for cell in line.values()), "the paper has one request"


def test_the_other_tables_have_the_papers_number_behind_ours(everything):
    shown = tables_of(everything)
    simgcl = shown["Table 2", "SimGCL on ml-1m, adversarial edges, d64"]
    assert simgcl["UnlearnRec zero-shot"]["gap MI-BF"] == "0.00 / 0.00 / 0.00 (0.0x) [0.67]"
    expected = {
        ("Table 3", "SimGCL on gowalla, adversarial edges, d64"): {
            ("without L_P and L_S", "Recall@20"): "0.2000 [0.1711]",
            ("without L_P", "Recall@20"): "0.2000",
            ("without L_S", "Recall@20"): "0.2000",
            ("without fine-tuning", "MI-BF"): "2.00 [3.32]",
            ("UnlearnRec zero-shot", "MI-BF"): "2.00",
            ("Retrain", "MI-BF"): "2.00 [15.43]",
            ("Retrain again", "gap MI-BF"): "0.10 (1.0x)",
        },
        ("Table 4", USUAL): {
            ("UnlearnRec, 2 epochs", "online s"): "2 [14.2]",
            ("UnlearnRec, 1 epoch", "times faster than Retrain"): "1 [172]",
            ("UnlearnRec zero-shot", "online s"): "2 [0.312]",
            ("IFRU", "offline s"): "3",
        },
        ("Table 5", USUAL): {
            ("0.75% UnlearnRec", "MI-NG"): "1.50 [1.04]",
            ("2.00% Retrain", "MI-NG"): "1.50",
            ("2.00% Retrain again", "gap MI-BF"): "0.10 (1.0x)",
        },
    }
    for table, cells in expected.items():
        assert {(line, column): shown[table][line][column] for line, column in cells} == cells
    table_4 = shown["Table 4", USUAL]
    assert list(table_4["IFRU"])[-3:] == ["break-even (requests)", "peak MB", "machine"]
    assert {line["machine"] for line in table_4.values()} == {"some machine"}


def test_exponent_and_factor_of_a_power_law():
    def law(*points):
        return figures.power_law([{"interactions": size, "seconds": cost} for size, cost in points], "seconds")

    assert law(*((size, 5 * size**1.25) for size in (1e4, 3e5, 2e6))) == pytest.approx((1.25, 5))
    assert all(map(math.isnan, law((100, 3.0)))) and all(map(math.isnan, law((100, 3.0), (100, 4.0))))


def test_costs_come_by_size_of_what_was_run(everything):
    costs = figures.costs_by_size(
        everything.parent, [Cell(dataset, "LightGCN", "") for dataset in ("gowalla", "absent", "ml-100k")]
    )
    assert list(costs) == ["zero-shot"]
    assert costs["zero-shot"] == [
        {"dataset": dataset, "interactions": SIZES[dataset], "online_seconds": 2.0, "peak_memory_mb": 512.0}
        for dataset in ("ml-100k", "gowalla")
    ]


def test_costs_of_two_machines_are_on_no_line(tmp_path):
    bases = [Cell(dataset, "LightGCN", "") for dataset in ("ml-100k", "gowalla", "ml-1m")]
    for base in bases:
        (cell,) = experiments.scaling(base)
        keep(tmp_path, cell, versions={"machine": "a GPU" if base.dataset == "gowalla" else "a CPU"})
    for points in figures.costs_by_size(tmp_path, bases).values():
        assert [point["dataset"] for point in points] == ["ml-100k", "ml-1m"]


def test_what_was_not_run_is_named(tmp_path):
    keep(tmp_path, cell_of("Retrain"))
    page = render(tmp_path).read_text(encoding="utf-8")
    sections = {section.partition(":")[0]: section for section in page.split("\n## ")[1:]}
    assert set(sections) - {"Not run\n\nNot run on today's code"} == {
        "Table 2",
        "Table 4",
        *(f"Figure {n}" for n in (2, 3, 4)),
    }
    picture, cells = sections["Figure 2"].strip().split("\n\n")[-2:]
    assert picture.startswith("![Figure 2") and cells.startswith(
        "Not run: `d64/ml-1m/LightGCN/adversarial/GraphEraser-2021`; "
    )
    last = page.strip().split("\n\n")[-1]
    assert "\n" not in last and "Table 5 (LightGCN on ml-1m, adversarial edges, d64)" in last
    assert last.startswith(
        "Not run on today's code: Table 2 (SGL, SimGCL on ml-1m, adversarial edges, d64; LightGCN, SGL, SimG"
    )


def test_a_page_of_no_cells_has_no_table(tmp_path):
    page = render(tmp_path)
    assert tables_of(page) == {} and "![" not in page.read_text(encoding="utf-8")


def test_break_even_is_offline_seconds_over_those_a_request_saves(tmp_path):
    for method, online in (("Retrain", 5.0), ("GIF", 2.0), ("CEU", 6.0)):
        keep(tmp_path, cell_of(method), row("original"), row(method, offline_seconds=6.0, online_seconds=online))
    shown = tables_of(render(tmp_path))["Table 4", USUAL]
    assert [shown[method]["break-even (requests)"] for method in ("Retrain", "GIF", "CEU")] == ["", "2", ""]


OTHER = Cell("tiny", "SimGCL", "")


def test_a_table_of_another_dataset_is_shown_with_its_first_own_cell(tmp_path):
    rows, title = experiments.table_3(OTHER), "SimGCL on tiny, adversarial edges, d64"
    for name in ("Retrain", "nothing", "UnlearnRec"):
        keep(tmp_path, *rows[name])
    shown = tables_of(render(tmp_path))
    assert ("Table 2", title) in shown and ("Table 3", title) not in shown, "Table 2 has all of them"
    keep(tmp_path, *rows["L_U"])
    shown = tables_of(render(tmp_path))["Table 3", title]
    assert shown["without L_U"]["Recall@20"] == shown["Retrain"]["Recall@20"] == "0.2000"
    assert "without L_C" not in shown


def test_a_table_2_of_another_dataset_is_shown_with_retrain(tmp_path):
    rows, title = experiments.table_2(OTHER), "SimGCL on tiny, adversarial edges, d64"
    for cell in (*rows["GIF"], *rows["Retrain"][1:]):
        keep(tmp_path, cell)
    assert ("Table 2", title) not in tables_of(render(tmp_path))
    keep(tmp_path, rows["Retrain"][0])
    assert tables_of(render(tmp_path))["Table 2", title]["GIF"]["Recall@20"] == "0.2000"


def test_ml_100k_has_its_tables_once_retrain_is_there(tmp_path):
    for method in ("Retrain", "UnlearnRec"):
        keep(tmp_path, cell_of(method, dataset="ml-100k"))
    shown = tables_of(render(tmp_path))
    of = "LightGCN on ml-100k, adversarial edges, d64"
    assert list(shown) == [("Table 2", of), ("Table 4", of)]
    assert shown["Table 4", of]["UnlearnRec zero-shot"]["online s"] == "2", "the paper has no ml-100k"


def test_a_figure_of_table_2_for_another_dataset_is_shown_whole(tmp_path):
    *others, last = all_cells(experiments.score_distributions(OTHER))
    for cell in others:
        keep(tmp_path, cell)
    assert "figure-2-d64-tiny-SimGCL" not in render(tmp_path).read_text(encoding="utf-8")
    keep(tmp_path, last)
    assert "figure-2-d64-tiny-SimGCL" in render(tmp_path).read_text(encoding="utf-8")


def test_a_deleted_setting_with_its_part_for_a_backbone_is_still_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "mine-LightGCN"):
        Path(f"{name}.yaml").write_text("epochs: 3\n", encoding="utf-8")
    cell = cell_of("Retrain", setting=os.path.relpath("mine.yaml", ROOT))
    keep(tmp_path, cell)
    Path("mine.yaml").unlink()
    assert (
        tables_of(render(tmp_path))["Table 2", "LightGCN on ml-1m, adversarial edges, mine"]["Retrain"]["seeds"] == "1"
    )


@pytest.mark.parametrize("datasets", [("ml-1m",), ("ml-1m", "gowalla")], ids=["one size", "gowalla is no part of it"])
def test_one_size_has_no_exponent(tmp_path, datasets):
    cells = [cell_of("UnlearnRec", dataset=dataset) for dataset in datasets]
    for cell in cells:
        keep(tmp_path, cell)
    picture = tmp_path / "picture.png"
    assert not figures.figure_scaling(tmp_path, cells, str(picture)) and not picture.exists()


def test_curves_of_figure_5(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: (drawn.append(self), open(path, "w").close()))
    base = base_of("figure 5")
    for cell in all_cells(experiments.figure_5(base)):
        changes = {**experiments.SHIPPED, "unlearn_finetune_epochs": 1, **dict(cell.changes)}
        numbers = {"zero-shot": changes["ie_epochs"], "fine-tuned": 100 + changes["unlearn_finetune_epochs"]}
        stages = [
            row("UnlearnRec", stage, **{"MI-BF": numbers[stage]}) for stage in stages_of(cell) if stage in numbers
        ]
        keep(tmp_path, cell, *([row("Retrain")] if cell.method == "Retrain" else stages))
    assert figures.figure_5(tmp_path, [base], str(tmp_path / "figure.png"))
    panels = drawn[0].axes
    curves = [
        {line.get_label(): line.get_xydata().tolist() for line in panel.get_lines()}
        for panel in panels
        if panel.get_ylabel() == "MI-BF"
    ]
    finetuning = [[0, 10], *([epochs, 100 + epochs] for epochs in experiments.FINETUNING_EPOCHS)]
    assert curves[0].pop(PAPERS_ENCODER) == [[epochs, epochs] for epochs in experiments.PRETRAINING_EPOCHS]
    assert curves[1].pop(PAPERS_ENCODER) == curves[1].pop("UnlearnRec") == finetuning
    assert [list(others) for others in curves] == [["Retrain"]] * 2
