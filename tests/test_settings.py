"""Declarations of settings: what follows from them, here for a class of its own, and the written yaml."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from recbole_unlearn import write_properties
from recbole_unlearn.config import properties_folder
from recbole_unlearn.declarations import declarations
from recbole_unlearn.errors import UsageError
from recbole_unlearn.settings import Count, Flag, Positive, Settings, Share, Weight, check, defaults, kinds, setting
from recbole_unlearn.validation import check_value
from recbole_unlearn.write_properties import as_yaml


class Inner(Settings):
    """Layers"""

    layers: Count = setting(3, "Number of layers.")
    scale: Positive | Literal["auto"] = setting("auto", "Scale.", "Ours.")


class Outer(Inner):
    """Read more:

    The rest"""

    share: Share | None = setting(None, "A share.")
    names: list[str] = setting(["a", "b"], "Names.")
    small: Weight = setting(1e-5, "A weight.")
    angle: Annotated[int, Field(gt=0, lt=360)] = setting(90, "Degrees.")
    mode: Literal["fast", "exact"] = setting("fast", "How.")
    on: Flag = setting(True, "Whether.")

    @model_validator(mode="after")
    def _fast_has_few_layers(self):
        if self.mode == "fast" and self.layers > 9:
            raise ValueError("Setting 'layers' must be at most 9 if 'mode' is fast.")
        return self


def test_sections_of_the_yaml_are_the_classes_and_comments_have_type_meaning_and_source():
    assert as_yaml("Outer", Outer) == (
        "# Read more:\n"
        "\n"
        "# The rest\n"
        "share: ~                            # (float) A share.\n"
        "names: [a, b]                       # (list) Names.\n"
        "small: 1.0e-05                      # (float) A weight.\n"
        "angle: 90                           # (int) Degrees.\n"
        "mode: fast                          # (str) How.\n"
        "on: True                            # (bool) Whether.\n"
        "\n"
        "# Layers\n"
        "layers: 3                           # (int) Number of layers.\n"
        "scale: auto                         # (float or str) Scale. Ours.\n"
    )
    assert as_yaml("Nothing", Settings) == "# Nothing has no settings of its own.\n"


def test_defaults_are_copies():
    defaults(Outer)["names"].append("c")
    assert defaults(Outer)["names"] == ["a", "b"]


@pytest.mark.parametrize("values", [{"layers": 9}, {"scale": 2}, {"share": 1}, {"on": None}, {"on": 0}, {"others": 0}])
def test_values_that_are_declared_pass(values):
    check(Outer, values)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"layers": 0}, "Setting 'layers' must be a whole number >= 1, not 0."),
        ({"layers": True}, "Setting 'layers' must be a whole number >= 1, not True."),
        ({"layers": 1.0}, "Setting 'layers' must be a whole number >= 1, not 1.0."),
        ({"layers": "1"}, "Setting 'layers' must be a whole number >= 1, not '1'."),
        ({"layers": None}, "Setting 'layers' must be a whole number >= 1, not None."),
        ({"scale": "aut"}, "Setting 'scale' must be a number > 0 or auto, not 'aut'."),
        ({"scale": float("inf")}, "Setting 'scale' must be a number > 0 or auto, not inf."),
        ({"share": float("nan")}, "Setting 'share' must be a share in (0, 1] or empty, not nan."),
        ({"names": "a"}, "Setting 'names' must be a list, not 'a'."),
        ({"angle": 360}, "Setting 'angle' must be a whole number > 0 and < 360, not 360."),
        ({"mode": "exakt"}, "Unknown mode 'exakt'. Did you mean 'exact'? Available: exact, fast."),
        ({"on": "no"}, "Setting 'on' must be True or False, not 'no'."),
        ({"layers": 10}, "Setting 'layers' must be at most 9 if 'mode' is fast."),
    ],
)
def test_others_are_refused_in_one_line(values, message):
    with pytest.raises(UsageError) as error:
        check(Outer, values)
    assert str(error.value) == message


def test_one_value_is_checked_alone():
    check_value("ie_rho", 0)
    check_value("nobodys", "x")
    with pytest.raises(UsageError, match="'ie_rho' must be a number >= 0, not -1"):
        check_value("ie_rho", -1)


def test_defaults_have_the_declared_values():
    for declaration in declarations():
        check(declaration, defaults(declaration))


RECBOLES = {"alpha"}  # NCL's weight of a contrast and SLIMElastic's regularisation


def test_a_setting_is_of_one_kind_wherever_it_has_a_default():
    kind_of, meaning_of = {}, {}
    for declaration in declarations():
        for name, kind in kinds(declaration).items():
            if name in RECBOLES:
                continue
            assert kind_of.setdefault(name, kind) == kind, name
            meaning = declaration.model_fields[name].description
            assert meaning_of.setdefault(name, meaning) == meaning, name


def test_the_yaml_is_that_of_the_declarations(capsys):
    with pytest.raises(SystemExit) as end:
        write_properties.main(["--check"])
    assert end.value.code == 0, f"{capsys.readouterr().out}: python -m recbole_unlearn.write_properties"


def test_stale_files_are_named_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(write_properties, "properties_folder", lambda: tmp_path)
    for folder in ("model", "method"):
        (tmp_path / folder).mkdir()
    for arguments, code in ((["--check"], 1), ([], 0), (["--check"], 0)):
        with pytest.raises(SystemExit) as end:
            write_properties.main(arguments)
        assert end.value.code == code
    assert capsys.readouterr().out.count(f"written: {tmp_path}") == len(list(tmp_path.rglob("*.yaml")))
    for name in ("overall", "model/SGL", "method/UnlearnRec"):
        assert (tmp_path / f"{name}.yaml").read_text() == (properties_folder() / f"{name}.yaml").read_text()
