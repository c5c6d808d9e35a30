"""Settings in yaml: each key appears once, and names and identifiers keep their text as written."""

from pathlib import Path
from typing import Any

import yaml
from recbole.config import Config as RecBoleConfig

from recbole_unlearn.errors import UsageError
from recbole_unlearn.text_settings import COUNTED, IDENTIFIERS, NAMES, TEXT

STRING, NULL, MERGE, WHOLE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "merge", "int"))


class Loader(RecBoleConfig._build_yaml_loader(None)):  # type: ignore[misc]  # a class that a function of RecBole makes
    """RecBole's loader, which reads ``1e-4`` as a number, with the checks of this module.

    Raises:
        UsageError: a key appears twice, or YAML would change an identifier; names the line.
    """

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        _refuse_repeated_keys(node, set())
        if isinstance(node, yaml.MappingNode):
            self.flatten_mapping(node)
            node.value = [(key, self._kept(key.value, value)) for key, value in node.value]
        return node

    def _kept(self, name, node):
        """The node of a setting; if the setting is text, the node keeps the text as written."""
        if name in IDENTIFIERS:
            return self._identifiers(name, node)
        if name in NAMES or (name in TEXT and isinstance(node, yaml.ScalarNode)):
            return _texts(node)
        return node

    def _identifiers(self, name, node):
        if isinstance(node, yaml.SequenceNode):
            return _copy(node, [self._identifier(name, each) for each in node.value])
        if node.tag == NULL:  # names nobody, as in a sweep's yaml; in a list, `null` could be somebody
            return node
        text = self._identifier(name, node)
        return node if name == COUNTED and node.tag == WHOLE else text

    def _identifier(self, name, node):
        if node.tag == STRING or not isinstance(node, yaml.ScalarNode):  # validation refuses the latter
            return node
        value = self.construct_object(node)
        if type(value) not in (int, float) or str(value) != node.value:
            line = _line(node)
            raise UsageError(f"line {line}: {name} has a token that YAML reads as another value; put it in quotes.")
        return _copy(node, node.value, STRING)


def read_yaml(file: str | Path) -> dict[str, Any]:
    """Read the settings of a yaml file. Nothing in it is executed.

    Args:
        file: its path.

    Raises:
        UsageError: the file does not exist, is no valid yaml or has no ``key: value`` lines; or, with the line, a key
            appears twice or an identifier needs quotes because YAML would change it, such as 007 or 1.10.
    """
    try:
        content = yaml.load(Path(file).read_text(encoding="utf-8-sig"), Loader=Loader)
    except FileNotFoundError:
        raise UsageError(f"Config file '{file}' does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Config file '{file}' cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    except UsageError as error:
        raise UsageError(f"Config file '{file}', {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # 2026-02-31 raises a ValueError
        raise UsageError(f"Config file '{file}' is not valid yaml: {' '.join(str(error).split())}") from None
    if not isinstance(content or {}, dict):
        raise UsageError(f"Config file '{file}' must hold `key: value` lines.")
    return content or {}


def _refuse_repeated_keys(node, seen):
    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:  # an alias may stand for a list that contains it
        return
    seen.add(id(node))
    if not isinstance(node, yaml.MappingNode):
        for each in node.value:
            _refuse_repeated_keys(each, seen)
        return
    lines: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
            name = key.tag, key.value
            if name in lines:
                first = lines[name]
                raise UsageError(f"line {_line(key)}: '{key.value}' appears twice, first in line {first}; leave one.")
            lines[name] = _line(key)
        _refuse_repeated_keys(value, seen)


def _texts(node):
    """A node whose scalars, including keys, are text as written."""
    if isinstance(node, yaml.MappingNode):
        return _copy(node, [(_texts(key), _texts(value)) for key, value in node.value])
    if isinstance(node, yaml.SequenceNode):
        return _copy(node, [_texts(each) for each in node.value])
    return node if node.tag == NULL else _copy(node, node.value, STRING)


def _copy(node, value, tag=None):
    """A new node, because an alias may share the old one with another setting."""
    return type(node)(tag or node.tag, value, node.start_mark, node.end_mark)


def _line(node):
    return node.start_mark.line + 1
