"""Server-side apply on plain JSON: who owns which field, what conflicts, what goes when nobody owns it any more."""

import copy


class FieldConflict(Exception):
    """A field has another owner: {field: manager}."""

    def __init__(self, fields):
        super().__init__(fields)
        self.fields = fields


def leaves(body, path=()):
    """Yield (path, value) of every field of an applied object that has a value of its own; lists are atomic."""
    for key, value in body.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def identity(path):
    return path in (("apiVersion",), ("kind",)) or path[:2] in (
        ("metadata", "name"),
        ("metadata", "namespace"),
        ("metadata", "resourceVersion"),
    )


def apply(live, owned, manager, body, *, force=False):
    """Return the object after `manager` applied `body`, and what each manager owns then.

    Args:
        live: The object as it is; empty for none.
        owned: {manager: set of paths}.
        manager: Who applies.
        body: The whole of what it wants.
        force: Take fields over from others.
    """
    wanted = {path: value for path, value in leaves(body) if not identity(path)}
    conflicts = {
        path: other
        for other, paths in owned.items()
        if other != manager
        for path in paths & set(wanted)
        if get(live, path) != wanted[path]
    }
    if conflicts and not force:
        raise FieldConflict(conflicts)
    after = copy.deepcopy(live)
    owned = {other: paths - set(conflicts) if other != manager else paths for other, paths in owned.items()}
    others = set().union(*(paths for other, paths in owned.items() if other != manager), set())
    for path in owned.get(manager, set()) - set(wanted) - others:
        remove(after, path)
    for path, value in leaves(body):
        if path != ("metadata", "resourceVersion"):
            put(after, path, value)
    return after, owned | {manager: set(wanted)}


def get(node, path):
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def put(node, path, value):
    for key in path[:-1]:
        node = node.setdefault(key, {})
    node[path[-1]] = copy.deepcopy(value)


def remove(node, path):
    if get(node, path[:-1]):
        get(node, path[:-1]).pop(path[-1], None)


def fields_v1(paths):
    """Return paths as managedFields writes them."""
    tree = {}
    for path in sorted(paths):
        node = tree
        for key in path:
            node = node.setdefault(f"f:{key}", {})
    return tree
