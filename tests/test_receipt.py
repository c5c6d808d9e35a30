"""Receipts: whole files, numbers that can be read, and nothing that names a person or claims too much."""

import base64
import json
import os
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import recbole
import torch

from recbole_unlearn.deletion.receipt import page as receipts
from recbole_unlearn.deletion.receipt.contents import own_part, size_class
from recbole_unlearn.deletion.receipt.files import place_of, write_receipts
from recbole_unlearn.deletion.receipt.histograms import score_histograms
from recbole_unlearn.deletion.receipt.measures import Measures
from recbole_unlearn.deletion.requests import DeletionRequest
from recbole_unlearn.graph import Graph

ML_100K = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
SCORES = {"forget": 0.8, "negative": -0.3, "test": 0.7}  # means before


def scores(n_pairs, shift=0.0):
    generator = np.random.default_rng(0)
    sizes = {"forget": n_pairs, "negative": 400, "test": 300}
    means = {**SCORES, "forget": SCORES["forget"] - shift}
    return {name: generator.normal(means[name], 0.3, size) for name, size in sizes.items()}


@pytest.fixture
def receipt():
    return {
        "request_id": "ticket:17@shop",
        "received_at": "2026-11-18T09:00:00+00:00",
        "submitted_at": "2026-11-19T08:30:00+00:00",
        "finished_at": "2026-11-20T10:11:12+00:00",
        "outcome": "forgotten",
        "method": "UnlearnRec zero-shot",
        "model": "LightGCN",
        "dataset": "ml-1m",
        "parent": {"version": "v0003", "sha256": "a" * 64},
        "child": {"version": "v0004", "sha256": "b" * 64},
        "rows": [
            {"scope": "user", "hash": "c0ffee" * 10, "found": True},
            {"scope": "item", "hash": "facade" * 10, "found": False},
        ],
        "counts": {"rows": 2, "found": 1, "not_found": 1, "interactions": "10-99", "users_erased": 1, "items_erased": 0},
        "measures": {"before": {"recall@20": 0.23456, "AUC_FN": 0.91}, "after": {"recall@20": 0.22222, "AUC_FN": None}},
        "scores": score_histograms(scores(40), scores(40, shift=0.9)),
        "artefacts": [{"file": "ml-1m.inter", "scanned": "1 user token", "leftovers": 0}],
        "quarantined": [{"version": "v0003", "until": "2026-12-20T10:11:12+00:00"}],
        "seconds": {"load": 1.25, "encoder": 0.0312, "publish": 12345.6},
        "versions": {"torch": "2.9.0", "recbole-unlearn": "0.1.0"},
        "checks": [
            {"name": "NDCG@20 after / before", "passed": True, "value": 0.987, "limit": 0.95},
            {"name": "leftovers", "passed": False, "value": 3, "limit": 0},
            {"name": "AUC_FT", "passed": None, "value": None, "limit": 0.6},
        ],
        "drift": {
            "requests since last retraining": 7, "interactions since": 321, "share": 0.00321,
            "recommend_retraining": False, "reason": "share below 0.01",
        },
        "batch": 3,
    }  # fmt: skip


@pytest.fixture
def bare(receipt):
    """A request of which nothing was in the data: next to nothing was measured."""
    unmeasured = "received_at method child measures scores drift seconds versions batch".split()
    return {
        **receipt,
        **dict.fromkeys(unmeasured),
        "outcome": "not found",
        "artefacts": [],
        "quarantined": [],
        "checks": [],
    }


def write_receipt(receipt, folder):
    return write_receipts([receipt], os.path.join(folder, place_of([receipt["request_id"]], 1)))


def page(*of_requests):
    return receipts.page(list(of_requests))


class Parsed(HTMLParser):
    """Fails on tags that do not close in order; keeps the text, the tags and the attributes."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += f"{data} "


def words(*of_requests):
    return " ".join(Parsed(page(*of_requests)).text.split())


@pytest.mark.parametrize("name", ["ticket:17@shop", "a.1"])  # a dot in an id is no ending
def test_json_round_trip(receipt, tmp_path, name):
    receipt["request_id"] = name
    path, html = write_receipt(receipt, str(tmp_path / "new" / "folder"))
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == [f"{name}.html", f"{name}.json"]
    assert json.loads(Path(path).read_text(encoding="utf-8")) == receipt
    assert Path(html).read_text(encoding="utf-8") == page(receipt)


def test_first_paragraph_says_what_was_done(receipt):
    text = words(receipt)
    assert (
        "On 2026-11-20 the model 'LightGCN' on 'ml-1m' was made to forget 10-99 interactions (1 user and 0 items entirely) "
        "with the method UnlearnRec zero-shot, together with 2 other requests. "
        "Of 2 rows of the request, 1 named nothing in the data. "
        "Of 3 checks, 1 passed (NDCG@20 after / before), 1 failed (leftovers), 1 not measured (AUC_FT)."
    ) in text
    assert "revised approximately" in text and "no proof" in text


def test_retraining_is_not_called_approximate(receipt):
    text = words({**receipt, "method": "Retrain", "batch": 1, "checks": []})
    assert "trained again without the data." in text and "approximately" not in text
    assert "with the method Retrain." in text and "No checks were made." in text


def test_nothing_found(bare):
    text = words(bare)
    assert "Nothing of it was in the data" in text and "made to forget" not in text and "no proof" in text
    assert "not recorded" in text and "Measures" not in text


def test_page_has_the_numbers(receipt):
    text = words(receipt)
    numbers = "0.2346 0.2222 0.91 0.987 0.95 321 0.00321 1.25 0.0312 12346 2.9.0 v0003 2026-12-20"
    assert all(number in text for number in numbers.split())
    assert "share below 0.01" in text and "recommend retraining no" in text


def test_values_are_escaped(receipt):
    attack = "<script>alert('\"&')</script>"

    def attacked(value):
        if isinstance(value, dict):
            return {key: attacked(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [attacked(entry) for entry in value]
        return f"{value}{attack}" if isinstance(value, str) else value

    hostile = {**attacked(receipt), "scores": receipt["scores"]}
    hostile["seconds"] = {attack: 1.0}  # names of entries too
    hostile["measures"] = {"before": {attack: 1.0}, "after": {}}
    parsed = Parsed(page(hostile))
    assert "script" not in parsed.tags and "<script" not in page(hostile)
    assert parsed.text.count(attack) >= 25  # shown as text


@pytest.mark.parametrize("method", ["UnlearnRec zero-shot", "Retrain"])
def test_nothing_is_claimed_that_was_not_measured(receipt, bare, method):
    for given in (receipt, bare):
        assert not re.search("prove[ns]|guarantee|certif", page({**given, "method": method}), re.IGNORECASE)


@pytest.mark.parametrize("change, error", [
    (lambda receipt: receipt["rows"][-1].update(user="u1"), ValueError),
    (lambda receipt: receipt.pop("drift"), KeyError),
    (lambda receipt: receipt.pop("finished_at"), KeyError),
])  # fmt: skip
def test_a_receipt_with_an_identifier_or_without_an_entry_is_not_written(receipt, tmp_path, change, error):
    change(receipt)
    with pytest.raises(error, match="identifiers stay out|drift|finished_at"):
        write_receipt(receipt, str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_hashes_are_shown_and_long_lists_cut(receipt):
    assert all(row["hash"] in words(receipt) for row in receipt["rows"])
    row = receipt["rows"][0]
    text = words({**receipt, "rows": [{**row, "hash": f"{number:064x}"} for number in range(receipts.LISTED + 5)]})
    assert f"{receipts.LISTED - 1:064x}" in text and f"{receipts.LISTED:064x}" not in text and "And 5 more" in text


@pytest.mark.parametrize("n_pairs, drawn", [(0, False), (19, False), (20, True), (500, True)])
def test_figure_from_twenty_pairs_on(receipt, n_pairs, drawn):
    receipt["scores"] = score_histograms(scores(n_pairs), scores(n_pairs, shift=0.9))
    parsed = Parsed(page(receipt))
    assert (receipt["scores"] is not None) == drawn == ("img" in parsed.tags)
    if drawn:
        attributes = dict(parsed.attributes)
        assert re.search(r"forgotten before 0\.[78].* forgotten after -0\.[012]", attributes["alt"])
        assert base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")


def test_histograms_are_densities_and_no_scores(receipt):
    before, after = scores(25), scores(25, shift=0.9)
    histograms = score_histograms(before, after)
    widths = np.diff(histograms["edges"])
    for stage in ("before", "after"):
        assert list(histograms[stage]) == ["forgotten", "never interacted", "held-out positives"]
        for densities in histograms[stage].values():
            assert np.sum(densities * widths) == pytest.approx(1, rel=0.05)
            assert all(f"{value:.2g}" == f"{value:.6g}" for value in densities), "two digits of the largest"
    kept = json.dumps(histograms)
    assert not any(repr(float(score)) in kept for score in before["forget"])


def test_histograms_at_the_limits(receipt):
    """All scores equal, and no held-out pairs."""
    equal = {"forget": np.full(20, 0.5), "negative": np.full(20, 0.5), "test": np.array([])}
    receipt["scores"] = score_histograms(equal, equal)
    assert not any(receipt["scores"]["after"]["held-out positives"])
    assert "held-out positives" not in dict(Parsed(page(receipt)).attributes)["alt"]


def test_page_needs_nothing_from_outside(receipt, bare):
    for given in (receipt, bare):
        html = page(given)
        parsed = Parsed(html)
        assert not {"script", "link", "iframe"} & set(parsed.tags) and "http" not in html and "url(" not in html
        assert parsed.tags.count("h1") == 1 and {("lang", "en"), ("charset", "utf-8")} <= set(parsed.attributes)


@pytest.mark.parametrize("failing", [".html", ".json"])
def test_interrupted_write_leaves_whole_files(receipt, tmp_path, monkeypatch, failing):
    paths = write_receipt(receipt, str(tmp_path))
    before = [Path(path).read_bytes() for path in paths]

    whole = Path.write_text

    def interrupted(target, text, **settings):
        if target.suffix != failing:
            return whole(target, text, **settings)
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", interrupted)
    changed = {**receipt, "model": "SimGCL"}
    with pytest.raises(KeyboardInterrupt):
        write_receipt(changed, str(tmp_path))
    assert Path(paths[0]).read_bytes() == before[0] and len(os.listdir(tmp_path)) == 2
    assert Path(paths[1]).read_bytes() == (before[1] if failing == ".html" else page(changed).encode())


def test_a_batch_is_one_page_and_one_file_with_a_line_a_request(receipt, tmp_path):
    batch = [{**receipt, "request_id": f"r{number}", "outcome": "forgotten"} for number in range(5)]
    batch[3] |= {"outcome": "not found", "counts": {**receipt["counts"], "found": 0, "interactions": "0"}}
    path, html = write_receipts(batch, str(tmp_path / place_of([each["request_id"] for each in batch], 7)))
    assert os.listdir(tmp_path) == ["batches"]
    assert sorted(os.listdir(tmp_path / "batches")) == [
        "0007.html",
        "0007.json",
    ]
    text = Path(path).read_text()
    whole = json.loads(text)
    assert [{**whole, **own} for own in whole.pop("requests")] == batch
    assert all(text.count(f'"r{number}"') == 1 for number in range(5)) and text.count("NDCG@20 after") == 1
    lines = [line for line in text.splitlines() if '"request_id"' in line]
    assert [json.loads(line.rstrip(","))["request_id"] for line in lines] == [each["request_id"] for each in batch]
    said = words(*batch)
    assert "Receipts of 5 deletion requests" in said and "forget what 4 requests name, together" in said
    assert "The other 1 named nothing in the data." in said and "r3 2026-11-18T09:00:00+00:00 not found 2 0 0" in said
    assert receipt["rows"][0]["hash"] not in said and len(Path(html).read_text()) < 100_000


def test_classes_of_numbers():
    classes = [size_class(number) for number in (0, 1, 9, 10, 99, 100, 999, 1000, 123456)]
    assert classes == ["0", "1-9", "1-9", "10-99", "10-99", "100-999", "100-999", "1,000-9,999", "100,000-999,999"]


def test_nobody_is_singled_out_by_a_receipt():
    """On ml-100k: exact numbers of interactions in each part are many a user's own, a receipt's hundreds share."""
    ids = np.loadtxt(ML_100K, skiprows=1, usecols=0, dtype=int)
    part_of_row = np.random.default_rng(0).choice(3, len(ids), p=[0.8, 0.1, 0.1])
    numbers = np.stack([np.bincount(ids[part_of_row == part], minlength=944)[1:] for part in range(3)], axis=1)
    exact, said = Counter(map(tuple, numbers.tolist())), Counter()
    for user, counts in enumerate(numbers.tolist()):
        found = [dict(zip(("train", "valid", "test"), counts))]
        request = DeletionRequest("r", [("user", str(user), None)])
        said[json.dumps(own_part(request, "", found, lambda *_: ""))] += 1
    assert sum(count == 1 for count in exact.values()) > 100 and min(said.values()) > 100


def test_forgotten_pairs_are_compared_with_pairs_that_the_encoder_was_not_fitted_on():
    """One user, six items: the encoder knows the validation pair, which scores highest; the test pair scores lowest."""
    graphs = [
        Graph.from_edges(torch.tensor([1] * len(items)), torch.tensor(items), 2, 7) for items in ([1, 2], [3], [4])
    ]
    train, valid, test = graphs
    scores_of_items = torch.tensor([0.0, 5.0, 5.0, 9.0, -9.0, 1.0, 2.0])
    model = SimpleNamespace(
        USER_ID="user_id",
        ITEM_ID="item_id",
        device="cpu",
        predict=lambda pairs: scores_of_items[pairs["item_id"]],
        scores=lambda users: scores_of_items.repeat(len(users), 1),
    )
    equally_popular = Graph.union(train, valid, test)
    measure = Measures(train, equally_popular, valid, test, (train.users, train.items), torch.Generator())
    measures, scores = measure(model)
    assert scores["test"].tolist() == [-9.0] and measures["AUC_FT"] == 1
