"""One YAML document from text that may be hostile: bounded in size, depth and aliases; each error has its line."""

from __future__ import annotations

from typing import Any

import yaml

LARGEST_CHARACTERS = 1 << 20
"""Read in some 10 s; a scenario of 10,000 turns has half of it."""
MOST_VALUES = 200_000
"""With every alias written out: a few lines of aliases can stand for more values than a machine has memory for."""
_UNREADABLE = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError)
"""What PyYAML raises, besides its own errors, for a value that does not fit its tag, such as `!!int ""`."""


class YamlTextError(Exception):
    """The text is no document that can be read."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        """`line` counts from 1; None where no line is to blame."""
        super().__init__(problem)
        self.problem, self.line = problem, line


def read_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the document as a tree of nodes, which know their lines, and as plain data.

    Raises:
        YamlTextError: it is too large, too deep or no YAML, has a key twice, or an alias that contains itself.
    """
    if len(text) > LARGEST_CHARACTERS:
        raise YamlTextError(f"over {LARGEST_CHARACTERS // 2**20} MiB of text: is it the right file?")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _check_keys(node)
        _count_values(node, {}, set())
        return node, loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlTextError(f"not valid YAML: {error.problem}", mark.line + 1 if mark else 1) from None
    except yaml.YAMLError as error:
        raise YamlTextError(f"not valid YAML: {' '.join(str(error).split())[:200]}") from None
    except RecursionError:
        raise YamlTextError("nested too deeply: is it the right file?") from None


class _Loader(yaml.SafeLoader):
    """Names the line of every value that cannot be read."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except _UNREADABLE as error:
            kind = str(node.tag).rpartition(":")[2]
            problem = " ".join(str(error).split())[:100] or type(error).__name__
            raise yaml.constructor.ConstructorError(
                None, None, f"a value of type {kind} cannot be read ({problem})", node.start_mark
            ) from None


def _check_keys(root: yaml.Node) -> None:
    """Refuse a mapping that has a key twice: YAML would silently keep the last one."""
    visited: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    raise YamlTextError(f"duplicate key `{key.value}`; remove one", key.start_mark.line + 1)
                keys.add(str(key.value))
        waiting += _children(node)


def _count_values(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """Return how many values the node stands for, its aliases written out.

    Raises:
        YamlTextError: too many, or an alias contains itself.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) in above:
        raise YamlTextError("an alias contains itself; write the values out", node.start_mark.line + 1)
    if id(node) not in known:
        above.add(id(node))
        known[id(node)] = 1 + sum(_count_values(child, known, above) for child in _children(node))
        above.remove(id(node))
        if known[id(node)] > MOST_VALUES:
            raise YamlTextError(
                f"over {MOST_VALUES:,} values, with its aliases written out: is it the right file?",
                node.start_mark.line + 1,
            )
    return known[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
