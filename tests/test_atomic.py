"""Files of a dataset: what is wrong in them is one line, and text and numbers stay as they are."""

import numpy as np
import pytest
import torch
from conftest import tiny_rows
from recbole.data.dataset import Dataset as RecBoleDataset
from served import as_typed

from recbole_unlearn import load_data_and_model
from recbole_unlearn.config import Config
from recbole_unlearn.data.split import split
from recbole_unlearn.deletion.version.inter_file import write_dataset
from recbole_unlearn.errors import UsageError
from recbole_unlearn.model import MODELS
from recbole_unlearn.model_file import save_model
from recbole_unlearn.task import prepare_data

HEADER = "user_id:token\titem_id:token\n"
TIMED = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


def table(rows, header=HEADER):
    """The text of a file with these rows."""
    return header + "".join("\t".join(map(str, row)) + "\n" for row in rows)


def timed(times, ratings=None):
    """The tiny dataset with these times, and ratings or 3."""
    return table(((*row, *rest) for row, rest in zip(tiny_rows(), zip(ratings or [3] * 400, times))), TIMED)


ROWS = table(tiny_rows(), "")
RATED = timed([1_600_000_000 + n * 7 % 400 for n in range(400)], [f"{n % 5 + 1}.1" for n in range(400)])
CLOSE = [1_600_000_000 + n * 7919 % 200 for n in range(400)]  # seconds apart, and some equal
LATEST = {"order": "TO", "split": {"LS": "valid_and_test"}}
ALL = {"load_col": {"inter": "*"}}


@pytest.fixture
def read(settings, tmp_path):
    """Split a dataset of these files, ending to content: ``read({"inter": "..."}, load_col=...)``."""

    def of(files, **changes):
        folder = tmp_path / "other" / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        for ending, content in files.items():
            (folder / f"mine.{ending}").write_bytes(content if isinstance(content, bytes) else content.encode())
        return split(
            Config("LightGCN", "mine", config_dict={**settings, "data_path": str(tmp_path / "other"), **changes})
        )

    return of


FAULTS = {
    "": "mine.inter' is empty",
    HEADER: "Dataset 'mine' has no interactions in mine.inter",
    HEADER[:-1]: "Dataset 'mine' has no interactions in mine.inter",
    "user_id\titem_id\n" + ROWS: "mine.inter' has the column 'user_id' in its first line, which is not NAME:TYPE",
    "user_id:str\titem_id:token\n" + ROWS: "gives column 'user_id' the type 'str'; types are token, float",
    "user_id:float\titem_id:token\n" + ROWS: "gives column 'user_id' the type float; ids are of type token",
    (HEADER + ROWS).replace("\t", ","): "separated by ',': --field_separator=','",
    "reader:token\tbook:token\n" + ROWS: "no column 'user_id'; it has reader, book.*--USER_ID_FIELD=NAME",
    "user_id:token\tbook:token\n" + ROWS: "no column 'item_id'; it has user_id, book.*--ITEM_ID_FIELD=NAME",
    HEADER + ROWS + "u1\ti2\tx\n": "has 3 cell.s. in line 402, not 2",
    HEADER + ROWS.replace("\n", "\tx\n"): "has 3 cell.s. in line 2, not 2",
    HEADER + ROWS + "u1\n": "has 1 cell.s. in line 402, not 2",
    HEADER + 'u1\t"i2\n' + ROWS: "mine.inter'",
    HEADER + 'u1\t"i\n2"\n' + ROWS + "u1\n": "has 1 cell.s. in line 404, not 2",
    RATED + "u1\ti2\t3\n": "has 3 cell.s. in line 402, not 4",
    RATED + "u1\ti2\tgood\t3\n": "has 'good' in row 401 of 'rating', whose type is float",
    RATED.replace(".1\t", "_1\t"): "has '1_1' in row 1 of 'rating', whose type is float",
    HEADER[:-1] + "\titem_id:token\n" + ROWS: "has the column 'item_id' twice",
    (HEADER + ROWS).encode("utf-16"): "is not text in the encoding UTF-8.*Set `encoding`",
    (HEADER + "é\ti1\n").encode("latin-1"): "is not text in the encoding UTF-8",
}


@pytest.mark.parametrize("content", FAULTS, ids=range(len(FAULTS)))
def test_faults_of_a_file_are_one_line_that_names_it(read, content):
    with pytest.raises(UsageError, match=FAULTS[content]) as error:
        read({"inter": content}, **ALL)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"load_col": {"inter": ["user_id", "item_id", "ratin"]}}, "'ratin'. Did you mean 'rating'?"),
        ({"load_col": {"inter": ["user_id"]}}, "leave out column 'item_id' of"),
        ({"load_col": {"user": ["user_id"]}}, "leave out column 'user_id' of"),
        ({"load_col": {"inter": "user_id"}}, "'load_col' must be empty or the columns"),
        ({"load_col": None, "unload_col": {"inter": ["item_id"]}}, "leave out column 'item_id' of"),
        (
            {"eval_args": {"order": "TO"}, "load_col": {"inter": ["user_id", "item_id", "rating"]}},
            "no column 'timestamp'.*loaded: rating",
        ),
        ({"eval_args": {"order": "TO"}, **ALL, "TIME_FIELD": "user_id"}, "no column 'user_id' of type float"),
        (
            {"val_interval": {"ratin": "[4,inf)"}},
            "'val_interval' names 'ratin', which is not loaded; loaded are user_id, item_id.*--load_col=",
        ),
        ({"user_inter_num_interval": "[99,inf)"}, "RecBole cannot use dataset 'mine'.*filtering"),
        ({**ALL, "unused_col": {"inter": ["user_id"]}}, "`unused_col` leaves out column 'user_id' of"),
        ({"benchmark_filename": ["a", "b", "c"]}, "`benchmark_filename` names mine.a.inter, which is not in"),
        ({"alias_of_user_id": ["nobody"]}, "RecBole cannot use dataset 'mine'.*KeyError"),
        ({"additional_feat_suffix": ["link"]}, "RecBole cannot use dataset 'mine'.*mine.link. not found"),
        ({"encoding": "utf-99"}, "not text in the encoding utf-99"),
    ],
)
def test_settings_that_do_not_fit_the_file(read, changes, message):
    with pytest.raises(UsageError, match=message) as error:
        read({"inter": RATED}, **changes)
    assert "\n" not in str(error.value)


def test_an_error_of_this_package_is_no_usage_error(read, monkeypatch):
    monkeypatch.setattr("recbole_unlearn.data.dataset.read_columns", None)
    with pytest.raises(TypeError):
        read({"inter": HEADER + ROWS})


def test_a_fault_ends_with_exit_code_2(settings, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.inter").write_text("user_id\titem_id\n" + ROWS)
    code, _, errors = as_typed(
        "--model=BPR", "--dataset=mine", f"--data_path={tmp_path}", "--gpu_id=", f"--checkpoint_dir={tmp_path}"
    )
    assert code == 2 and "Traceback" not in errors and errors.splitlines()[-1].startswith("run_unlearn: '")


@pytest.mark.parametrize(
    "content, changes",
    [
        (b"\xef\xbb\xbf" + (HEADER + ROWS).encode(), {}),
        ((HEADER + ROWS).replace("\n", "\r\n"), {}),
        ((HEADER + ROWS).replace("\n", "\n\n"), {}),
        ((HEADER + ROWS).encode("utf-16"), {"encoding": "utf-16"}),
        ((HEADER + ROWS).replace("\t", ","), {"field_separator": ","}),
        ((HEADER + ROWS).replace("\t", "::"), {"field_separator": "::"}),
        ((HEADER + ROWS).replace("\t", "||"), {"field_separator": "||"}),
        ((HEADER + ROWS).replace("user_id", "u").replace("item_id", "i"), {"USER_ID_FIELD": "u", "ITEM_ID_FIELD": "i"}),
        ('"user_id:token"\t"item_id:token"\n' + ROWS.replace("u1\t", '"u1"\t'), {}),
    ],
)
def test_other_forms_of_the_same_file(read, content, changes):
    plain, other = read({"inter": HEADER + ROWS})[1], read({"inter": content}, **changes)[1]
    for mine, theirs in ((plain.uid_field, other.uid_field), (plain.iid_field, other.iid_field)):
        assert torch.equal(plain.inter_feat[mine], other.inter_feat[theirs])
        assert list(plain.field2id_token[mine]) == list(other.field2id_token[theirs])


def interactions(*datasets):
    """External tokens of all rows."""
    rows = [(part, n) for part in datasets for n in range(len(part))]
    return sorted(
        tuple(part.id2token(f, part.inter_feat[f][n].item()) for f in ("user_id", "item_id")) for part, n in rows
    )


NAMES = ("NA", "None", "null", "nan", "NULL", "n/a", "True", "1e3", "007")
NAMED = [
    *((name, f"i{n}") for name in NAMES for n in range(10)),
    *((f"u{n}", name) for name in NAMES for n in range(4)),
]
BLANK = [("", "i1"), ("u1", ""), (" ", "i1"), ("", "")]


@pytest.mark.parametrize("benchmark", [False, True])
def test_ids_are_text_and_rows_without_one_are_counted(read, benchmark, caplog):
    rows = [*tiny_rows(), *NAMED]
    content, few = table([*BLANK, *rows]), [("NA", "i11"), ("u0", "null")] if benchmark else []
    files, changes = {"inter": content}, {}
    if benchmark:
        held_out = table([*BLANK[:1], *few])
        files = {"train.inter": content, "valid.inter": held_out, "test.inter": held_out}
        changes = {"benchmark_filename": ["train", "valid", "test"]}
    dataset, *parts = read(files, **changes)
    assert interactions(*parts) == sorted([*rows, *few, *few])
    assert all((part.inter_feat[field] > 0).all() for part in parts for field in ("user_id", "item_id"))
    left_out = "have no user_id or item_id and are left out"
    counted = [record.getMessage() for record in caplog.records if left_out in record.getMessage()]
    assert len(counted) == len(files) and counted[0].startswith(f"4 of {len(rows) + 4} rows of ")


def test_features_of_users_called_na(read, caplog):
    ages = [*((name, n, "NA") for n, name in enumerate(NAMES)), ("", 50, "Paris"), ("u1", "", "")]
    users = table(ages, "user_id:token\tage:float\tcity:token\n")
    content = table([*tiny_rows(), *NAMED])
    dataset, *_ = read({"inter": content, "user": users}, load_col=None, filter_inter_by_user_or_item=False)
    ids = dataset.token2id("user_id", list(NAMES))
    assert dataset.user_feat["age"][ids].tolist() == list(range(len(NAMES)))
    assert set(dataset.user_feat["city"][ids].tolist()) == {dataset.token2id("city", "NA")}
    assert dataset.user_feat["city"][dataset.token2id("user_id", "u1")] == 0
    assert "1 of 11 rows of" in caplog.text and "have no user_id and are left out" in caplog.text
    assert "1 of 10 cells of 'age' in" in caplog.text


def test_benchmark_files_of_other_columns_are_refused(read):
    files = {"train.inter": HEADER + ROWS, "valid.inter": RATED, "test.inter": HEADER + ROWS}
    with pytest.raises(UsageError, match="mine.valid.inter' has other columns"):
        read(files, benchmark_filename=["train", "valid", "test"], load_col=None)


def test_what_is_off_with_benchmark_files_is_said(read, caplog):
    files = {f"{part}.inter": HEADER + ROWS for part in ("train", "valid", "test")}
    read(files, benchmark_filename=["train", "valid", "test"], rm_dup_inter="first", user_inter_num_interval="[5,inf)")
    assert "no rm_dup_inter, user_inter_num_interval." in caplog.text


def test_sequences_are_as_in_recbole_with_few_and_with_no_entries(read, settings):
    rows = [(f"i{n}", " ".join("abc"[: n % 4]), ".5 2 1.25"[: 3 * (n % 3)]) for n in range(30)]
    items = table(rows, "item_id:token\tclass:token_seq\tplaces:float_seq\n")
    dataset, *_ = read({"inter": HEADER + ROWS, "item": items}, load_col=None, seq_len={"class": 2})
    for n in range(30):
        row = dataset.item_feat[dataset.token2id("item_id", f"i{n}")]
        assert [dataset.id2token("class", c) for c in row["class"].tolist() if c] == list("abc"[: min(2, n % 4)])
        assert [p for p in row["places"].tolist() if p] == [float(p) for p in ".5 2 1.25"[: 3 * (n % 3)].split()]
    stock = RecBoleDataset(dataset.config)  # as somebody who imports this package for RecBole's own models has it
    stock.build()
    assert all(
        torch.equal(stock.item_feat[field], dataset.item_feat[field]) for field in ("item_id", "class", "places")
    )


def test_all_columns_of_ml_100k_load(settings):
    columns = {"load_col": {"inter": "*", "user": "*", "item": "*"}, "dataset": "ml-100k"}
    dataset, *_ = split(Config("LightGCN", "ml-100k", config_dict={**settings, **columns}))
    movie = dataset.item_feat[dataset.token2id("item_id", "1")]
    assert dataset.id2token("movie_title", movie["movie_title"][movie["movie_title"] > 0]).tolist() == ["Toy", "Story"]
    classes = dataset.id2token("class", movie["class"][movie["class"] > 0]).tolist()
    assert classes == ["Animation", "Children's", "Comedy"]


def test_written_numbers_are_the_sources(read, tmp_path):
    """Ratings to the last digit, whole numbers whole, also beyond what a float64 tells apart; blank stays blank."""
    values = [(str(0.1 * n), str(1_700_000_000_123_456_789 + n)) for n in range(400)]
    values[7] = ("", values[7][1])
    content = timed([time for _, time in values], [rating for rating, _ in values])
    written = {}
    for part in read({"inter": content}, eval_args={"order": "TO"}, normalize_all=True, **ALL)[1:]:
        write_dataset(str(tmp_path / "out"), part)
        header, *lines = (tmp_path / "out").read_text().splitlines()
        assert header == TIMED.strip()
        written |= {tuple(line.split("\t")[:2]): tuple(line.split("\t")[2:]) for line in lines}
        assert part.inter_feat["timestamp"].dtype == part.inter_feat["rating"].dtype == torch.float32
    assert written == dict(zip(tiny_rows(), values))


def test_the_latest_interactions_are_held_out(read):
    """Seconds apart, which float32 cannot tell at today's timestamps; equal ones keep the order of the file."""
    rows = list(tiny_rows())
    _, train, valid, test = read({"inter": timed(CLOSE)}, eval_args=LATEST, **ALL)
    by_user = {}
    for n in sorted(range(400), key=lambda n: (CLOSE[n], n)):
        by_user.setdefault(rows[n][0], []).append(rows[n])
    assert interactions(test) == sorted(mine[-1] for mine in by_user.values())
    assert interactions(valid) == sorted(mine[-2] for mine in by_user.values())
    assert len(train) == 320


@pytest.mark.parametrize("keep", ["first", "last"])
def test_of_repeated_interactions_the_first_or_last_in_time_is_kept(read, keep):
    """And of those at the same time, the first or last in the file, where all others keep their order, too."""
    rows = [row for row in tiny_rows() for _ in range(3)]
    content = table(((*row, n, (5, 3, 5)[n % 3]) for n, row in enumerate(rows)), TIMED)
    _, *parts = read({"inter": content}, rm_dup_inter=keep, eval_args={"order": "TO"}, **ALL)
    kept = [number for part in parts for number in part.inter_feat["rating"].tolist()]
    assert sorted(kept) == [n for n in range(1200) if n % 3 == {"first": 1, "last": 2}[keep]]
    for part in parts:
        user = part.inter_feat["user_id"].numpy()
        mine = [part.inter_feat["rating"].numpy()[user == one] for one in range(1, 41)]
        assert all((np.diff(numbers) > 0).all() for numbers in mine)


def test_repeated_interactions_are_rows_of_the_training_and_one_edge(read):
    """As many rows as RecBole has, in its order; ``rm_dup_inter`` drops them, as there."""
    content = HEADER + ROWS + "".join(ROWS.splitlines(keepends=True)[::2])
    _, *parts = read({"inter": content})
    config = parts[0].config
    torch.manual_seed(config["seed"])
    stock = RecBoleDataset(config).build()
    for ours, theirs in zip(parts, stock):
        assert all(torch.equal(ours.inter_feat[field], theirs.inter_feat[field]) for field in ("user_id", "item_id"))
    data = prepare_data(config)
    assert len(data.train) == len(parts[0]) > len(data.graph) == len(set(interactions(data.train)))
    assert len(data.remaining) < len(data.train)
    users, items = (
        data.train.id2token(field, ids)
        for field, ids in (("user_id", data.request.users), ("item_id", data.request.items))
    )
    assert not set(interactions(data.remaining)) & set(zip(users, items))
    _, *once = read({"inter": content}, rm_dup_inter="first")
    assert sum(map(len, once)) == 400


def test_data_of_a_model_that_was_trained_by_recbole_are_as_recbole_reads_them(read):
    """The same rows in the same parts, with times rounded and without ids called NA, but written as the source has them."""
    rows = [*tiny_rows(), *NAMED[: 10 * len(NAMES)]]  # RecBole drops others than it says if items lack ids, too
    content = table(((*row, 3, time) for row, time in zip(rows, CLOSE * 2)), TIMED)
    dataset, *_ = read({"inter": content}, eval_args=LATEST, **ALL)
    ours = split(dataset.config, as_recbole=True)[1:]
    for part, theirs in zip(ours, RecBoleDataset(dataset.config).build()):
        assert interactions(part) == interactions(theirs)
        assert part.field2id_token["user_id"].tolist() == theirs.field2id_token["user_id"].tolist()
        times = part.inter_feat.source["timestamp"]
        assert torch.equal(times.float(), theirs.inter_feat["timestamp"]) and (times < 1_600_000_200).all()


def test_a_model_of_an_earlier_release_gets_the_split_it_was_trained_on(read, tmp_path):
    dataset, exact, *_ = read({"inter": timed(CLOSE)}, eval_args={"order": "TO"}, **ALL)
    train = split(dataset.config, as_recbole=True)[1]
    assert interactions(train) != interactions(exact)
    for part in (train, exact):
        model = MODELS["LightGCN"](dataset.config, part)
        save_model(str(tmp_path / "model.safetensors"), model, dataset.config, part)
        _, _, _, train_data, *_ = load_data_and_model(str(tmp_path / "model.safetensors"))
        assert interactions(train_data.dataset) == interactions(part)
