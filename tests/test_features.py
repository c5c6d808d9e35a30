"""Items by a feature of the dataset's .item file."""

import logging

import pytest

from recbole_unlearn import run_unlearn
from recbole_unlearn.config import Config
from recbole_unlearn.data.features import items_with
from recbole_unlearn.errors import UsageError
from recbole_unlearn.task import prepare_data
from recbole_unlearn.testing import tiny_dataset

GENRES = ("Horror", "War", "Film-Noir")
HEADER = "item_id:token\ttitle:token_seq\tyear:token\tclass:token_seq\tscore:float"


@pytest.fixture
def item_file(tmp_path):
    """The items' file of a copy of the tiny dataset: item n has genre n % 3, and every fifth War too."""
    tiny_dataset(tmp_path / "data")
    rows = [
        f"i{n}\tThe number {n}\t{1990 + n % 4}\t{GENRES[n % 3]}{' War' if n % 5 == 0 else ''}\t{n}" for n in range(40)
    ]
    file = tmp_path / "data" / "tiny" / "tiny.item"
    file.write_text("\n".join([HEADER, *rows, "i77\tBlank\t\t\t1"]) + "\n")
    return file


@pytest.fixture
def featured(settings, item_file):
    def configure(**changes):
        folder = str(item_file.parent.parent)
        return Config(
            "LightGCN", "tiny", config_dict={**settings, "data_path": folder, "forget_type": "item", **changes}
        )

    return configure


def forgotten(data):
    return {str(data.train.id2token("item_id", item)) for item in data.request.items.tolist()}


@pytest.mark.parametrize("values", ["Horror", "War", ["Horror", "Film-Noir"], "Horror,Film-Noir"])
def test_all_interactions_with_the_items_of_a_value(featured, values):
    data = prepare_data(featured(forget_item_feature="class", forget_item_value=values))
    names = values.split(",") if isinstance(values, str) else values
    expected = {f"i{n}" for n in range(30) if GENRES[n % 3] in names or ("War" in names and n % 5 == 0)}
    assert forgotten(data) == expected
    left = {str(data.train.id2token("item_id", item)) for item in data.remaining_graph.items.tolist()}
    assert not left & expected
    said = data.request.summary()
    assert said["feature"] == "class" and said["values"] == names and said["n_items"] == len(expected)


def test_a_value_is_the_text_of_a_cell_or_of_a_part_of_it(featured, item_file):
    assert len(forgotten(prepare_data(featured(forget_item_feature="year", forget_item_value=1990)))) == 8
    assert items_with(str(item_file), "item_id", "title", ["7"]).tolist() == ["i7"]
    with pytest.raises(UsageError, match="Unknown value in 'forget_item_value' of column 'year'"):
        items_with(str(item_file), "item_id", "year", ["199"])


@pytest.mark.parametrize(
    "feature, value, message",
    [
        ("clas", "Horror", "Unknown column in 'forget_item_feature' of '.*tiny.item' 'clas'. Did you mean 'class'?"),
        ("item_id", "i3", "Unknown column"),
        ("class", "Horor", "Unknown value .* 'Horor'. Did you mean 'Horror'?"),
        ("title", "nmber", "Did you mean 'number'.* more"),
        ("class", "", "'forget_item_value' has an empty token|names nothing"),
        ("score", "3", "gives column 'score' the type float"),
    ],
)
def test_what_the_file_does_not_have(featured, feature, value, message):
    with pytest.raises(UsageError, match=message) as error:
        prepare_data(featured(forget_item_feature=feature, forget_item_value=value))
    assert "\n" not in str(error.value)


def test_items_that_nobody_has(featured, item_file):
    item_file.write_text(f"{HEADER}\ni98\tx\t1990\tWestern\t1\n")
    with pytest.raises(UsageError, match="Nothing to forget: none of the 1 items whose 'class' is Western"):
        prepare_data(featured(forget_item_feature="class", forget_item_value="Western"))


def test_no_items_file(configure):
    with pytest.raises(UsageError, match="needs the items' file '.*tiny.item', which does not exist"):
        prepare_data(configure(forget_type="item", forget_item_feature="class", forget_item_value="Horror"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"forget_item_feature": "class"}, "'forget_item_feature' needs 'forget_item_value'"),
        ({"forget_item_value": "Horror"}, "'forget_item_value' needs 'forget_item_feature'"),
        (
            {"forget_item_feature": "class", "forget_item_value": "War", "forget_items": "i3"},
            "'forget_items' and 'forget_item_feature' each say what to forget",
        ),
        (
            {"forget_item_feature": "class", "forget_item_value": "War", "forget_pick": "core"},
            "'forget_item_feature' and 'forget_pick' each say what to forget",
        ),
        (
            {"forget_item_feature": "class", "forget_item_value": "War", "forget_type": "user"},
            "'forget_item_feature' needs forget_type 'item', not 'user'",
        ),
    ],
)
def test_half_a_group_or_two_are_refused(configure, changes, message):
    with pytest.raises(UsageError, match=message):
        configure(**{"forget_type": "item", **changes})


def test_a_run_forgets_a_group(featured, caplog):
    config = featured(forget_item_feature="class", forget_item_value="War", unlearn_methods=["DropEdges"])
    given = {key: config[key] for key in ("forget_type", "forget_item_feature", "forget_item_value")}
    caplog.set_level(logging.INFO)
    report = run_unlearn("LightGCN", "tiny", config_dict={**config.external_config_dict, **given}, saved=False)
    assert "forgotten (item, class War)" in caplog.text
    assert report["forget"]["feature"] == "class" and report["forget"]["values"] == ["War"]
    assert report["results"][-1]["method"] == "DropEdges"
