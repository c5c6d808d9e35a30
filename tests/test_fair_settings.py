"""The sweeps that give every method the same search."""

import fair_settings
import pytest
import yaml
from fair_settings import confirmed, lines_of, space_of, with_settings

from recbole_unlearn.method import METHODS
from recbole_unlearn.sweep.space import read_space

GIVEN = {"unlearn_scif_damping": 0.3, "unlearn_scif_iterations": 30}  # the first is shipped


def record(objective, status="done", **point):
    return {"point": point, "status": status, "result": dict.fromkeys(("objective", "gap", "utility"), objective)}


def sweep(best, given, *held_back, status="done"):
    return {
        "method": "SCIF",
        "goal": {"metric": "objective", "mode": "min"},
        "trials": [record(best, status, **GIVEN)],
        "as given": record(given),
        "held back": [{"best": record(one, **GIVEN), "as given": record(other)} for one, other in held_back],
    }


@pytest.mark.parametrize("name", [name for name in METHODS if name not in fair_settings.WITHOUT_SETTINGS])
def test_every_method_with_settings_has_a_space_of_its_own_settings(name):
    space = read_space(space_of(name), name)
    assert "unlearn_shard_batch_size" not in space, "all sharded methods would get one method's value"


def test_settings_are_confirmed_by_every_round_or_not_at_all():
    assert confirmed(sweep(0.1, 0.2, (0.1, 0.2), (0.3, 0.4))) == {"unlearn_scif_iterations": 30}, "what differs"
    for others in (
        sweep(0.1, 0.2, (0.1, 0.2), (0.4, 0.4)),
        sweep(0.2, 0.2, (0.1, 0.2)),
        sweep(0.1, 0.2),
        sweep(0.1, 0.2, (0.1, 0.2), status="stopped"),
    ):
        assert confirmed(others) == {}


def test_a_cell_s_lines_say_what_was_found():
    first, *rounds = lines_of([("ml-100k", "LightGCN", "SCIF")], [sweep(0.1, 0.2, (0.1, 0.2))])[0].splitlines()
    assert "unlearn_scif_damping 0.3" in first and first.endswith(": confirmed") and len(rounds) == 2
    assert lines_of([("a", "b", "c")], ["no data"]) == ["a b c: not swept: no data"]


def test_confirmed_settings_replace_their_lines_and_keep_the_others():
    text = "# Why.\nepochs: 5  # (int) Epochs.\nold: 1  # (int) Old.\n"
    new = with_settings(text, {"old": "BEKM", "new": 0.5}, {"old": "(str) One.", "new": "(float) Two."})
    assert yaml.safe_load(new) == {"epochs": 5, "old": "BEKM", "new": 0.5}
    assert new.startswith("# Why.\nepochs: 5  # (int) Epochs.\n") and "# (float) Two." in new
