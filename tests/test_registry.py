"""Names to classes, and messages about names."""

from pathlib import Path

import pytest

from recbole_unlearn.errors import UsageError, unknown
from recbole_unlearn.registry import Registry, own_yaml


def named(name, module="here"):
    return type(name, (), {"__module__": module})


def test_classes_are_found_by_name_and_listed_in_order():
    registry = Registry("animal")
    dog, cat = registry.register(named("Dog")), registry.register(named("Cat"))
    assert registry["Dog"] is dog and registry["Cat"] is cat and list(registry) == ["Cat", "Dog"]


def test_two_classes_of_one_name_are_refused():
    registry = Registry("animal")
    dog = registry.register(named("Dog"))
    with pytest.raises(ValueError, match="Two classes for animal 'Dog': here and elsewhere"):
        registry.register(named("Dog", "elsewhere"))
    assert registry["Dog"] is dog


def test_a_class_defined_again_replaces_itself():
    registry = Registry("animal")
    registry.register(named("Dog"))
    again = registry.register(named("Dog"))
    assert registry["Dog"] is again


def test_settings_of_a_class_stand_beside_its_module_or_where_a_notebook_runs():
    assert own_yaml(named("Dog", "no_module_of_a_file")) == Path("Dog.yaml")
    assert own_yaml(named("Dog", __name__)) == Path(__file__).with_name("Dog.yaml")
    assert own_yaml(named("Dog", "recbole_unlearn.model.bpr")) is None


def test_unknown_name():
    registry = Registry("animal")
    for name in ("Cat", "Dog", "Horse"):
        registry.register(named(name))
    with pytest.raises(
        UsageError, match=r"Unknown animal 'hors'\. Did you mean 'Horse'\? Available: Horse, Cat, Dog\."
    ):
        registry["hors"]


@pytest.mark.parametrize("name", ["zzz", "", None, 3])
def test_message_for_a_name_like_no_other(name):
    assert str(unknown("animal", name, ["Dog", "Cat"])) == f"Unknown animal '{name}'. Available: Cat, Dog."
