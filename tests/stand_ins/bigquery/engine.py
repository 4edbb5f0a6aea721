"""Tables with a past, and queries on them: parsed as BigQuery's SQL, looked at as BigQuery would, run on DuckDB."""

import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from tests.stand_ins.bigquery import types


class Refused(Exception):
    """An error as the REST API gives it."""

    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


@dataclass
class Table:
    """A table with all that it ever was: (time, rows as a table of DuckDB's)."""

    name: str
    fields: list
    versions: list = field(default_factory=list)
    kind: str = "TABLE"
    view: str = ""
    streaming: bool = False
    bytes: int | None = None
    rows: int = 0

    @property
    def changed(self):
        return self.versions[-1][0]


@dataclass
class Plan:
    """What a query is: SQL for DuckDB, columns, what it reads and how much that is."""

    sql: str
    parameters: dict
    fields: list
    tables: list
    bytes: int


class Engine:
    """All projects of the stand-in; `window` is how long the past is kept."""

    def __init__(self):
        self.tables = {}
        self.window = timedelta(days=7)
        self._duckdb = duckdb.connect(config={"threads": 1})
        self._duckdb.execute("SET TimeZone = 'UTC'")
        self._lock = threading.Lock()
        self._count = 0

    def put(self, name, select, *, at=None, fields=None, **about):
        """Write what `select`, SQL of DuckDB's, gives as table `name`; a table that is there gets a newer version."""
        with self._lock:
            self._count += 1
            stored = f"v{self._count}"
            self._duckdb.execute(f"CREATE TABLE {stored} AS {select}")
            arrow = self._duckdb.sql(f"SELECT * FROM {stored} LIMIT 0").to_arrow_table().schema
            rows = self._duckdb.execute(f"SELECT count(*) FROM {stored}").fetchone()[0]
        given = {each["name"]: each for each in fields or ()}
        made = [given.get(each.name) or types.from_arrow(each.name, each.type) for each in arrow]
        table = self.tables.setdefault(name, Table(name, made))
        table.versions.append((at or datetime.now(UTC), stored))
        table.rows = rows
        for key, value in about.items():
            setattr(table, key, value)

    def load(self, name, file, field, form, partition):
        """Put the rows of a Parquet file in the place of a partition's; return what is wrong with them, if anything."""
        rows, at = f"SELECT * FROM '{file}'", f"strftime({field} AT TIME ZONE 'UTC', '{form}')"
        if self._ask(f"SELECT 1 FROM ({rows}) WHERE {at} <> '{partition}' LIMIT 1", {}):
            message = "Some rows belong to different partitions rather than destination partition"
            return {"reason": "invalid", "message": message}
        if table := self.tables.get(name):
            kept = f"SELECT * FROM {table.versions[-1][1]} WHERE {at} <> '{partition}'"
            rows = f"{kept} UNION ALL BY NAME {rows}"
        versions = table.versions if table else []
        self.tables.pop(name, None)
        self.put(name, rows)
        self.tables[name].versions[:0] = versions
        return None

    def keep(self, name, plan):
        """Write the result of a job as a table, and return its rows as Arrow."""
        wanted = {name: value for name, value in plan.parameters.items() if re.search(rf"\${name}\b", plan.sql)}
        with self._lock:
            self._count += 1
            stored = f"v{self._count}"
            try:
                self._duckdb.execute(f"CREATE TABLE {stored} AS {plan.sql}", wanted or None)
            except duckdb.Error as error:
                raise Refused(400, "invalidQuery", f"Query error: {error}") from None
        rows = types.to_table(self._ask(f"SELECT * FROM {stored}", {}), plan.fields)
        self.tables[name] = Table(name, list(plan.fields), [(datetime.now(UTC), stored)], rows=rows.num_rows)
        return rows

    def put_view(self, name, text):
        """Define a view by a query of BigQuery's."""
        plan = self.plan(text, {}, None)
        self.tables[name] = Table(name, plan.fields, [(datetime.now(UTC), "")], kind="VIEW", view=text)

    def plan(self, text, parameters, default):
        """Return what `text` means; `parameters` are {name: (type, value)}, `default` is project.dataset or None.

        Raises:
            Refused: BigQuery would not take it.
        """
        try:
            tree = next(each for each in sqlglot.parse(text, read="bigquery") if not isinstance(each, exp.Semicolon))
        except SqlglotError as error:
            raise Refused(400, "invalidQuery", f"Syntax error: {error}") from None
        read = []
        self._resolve(tree, default, read)
        self._bind(tree, parameters)
        looked = self._annotate(tree, read)
        _check_comparisons(looked)
        for node in list(tree.find_all(exp.ParseJSON, exp.JSONFormat)):
            node.replace(node.this)
        for node in list(tree.find_all(exp.Anonymous)):
            if node.name.upper() == "ST_ASTEXT":
                node.replace(node.expressions[0])
        for node in list(tree.find_all(exp.DataType)):
            if node.this == exp.DataType.Type.BIGDECIMAL:
                node.replace(exp.DataType.build("text"))
        sql = tree.sql(dialect="duckdb", comments=False)
        values = {name: value for name, (_, value) in parameters.items()}
        read_bytes = sum(each.bytes if each.bytes is not None else each.rows * 8 * len(each.fields) for each in read)
        return Plan(sql, values, self._fields(sql, values, looked), read, read_bytes)

    def run(self, plan):
        """Return the rows of `plan` as Arrow, of the types that BigQuery gives."""
        rows = self._ask(plan.sql, plan.parameters)
        return types.to_table(rows, plan.fields)

    def _ask(self, sql, values, columns=False):
        """Return the rows of `sql`, or the schema of its columns alone."""
        wanted = {name: value for name, value in values.items() if re.search(rf"\${name}\b", sql)}
        try:
            if columns:
                return (
                    self._duckdb.cursor().sql(f"SELECT * FROM ({sql}) LIMIT 0", params=wanted).to_arrow_table().schema
                )
            return self._duckdb.cursor().sql(sql, params=wanted).fetchall()
        except duckdb.Error as error:
            found = re.search(r"Referenced column \"(\w+)\"", str(error))
            message = f"Unrecognized name: {found[1]} at [1:8]" if found else f"Query error: {error}"
            raise Refused(400, "invalidQuery", message) from None

    def _fields(self, sql, values, looked):
        arrow = self._ask(sql, values, columns=True)
        annotated = [each.type for each in looked.selects]
        return [_field(each, kind) for each, kind in zip(arrow, annotated, strict=True)]

    def _resolve(self, tree, default, read):
        """Put the right version of each table in the place of its name, and a view's query in that of a view."""
        own = {cte.alias_or_name for cte in tree.find_all(exp.CTE)}
        times = {}
        for node in list(tree.find_all(exp.Table)):
            name = ".".join(part.name for part in node.parts)
            if not node.name or (name in own and not _within(node, name)):
                continue
            full = ".".join([*(default or "").split(".")[: max(2 - name.count("."), 0)], name])
            table = self.tables.get(full)
            if table is None:
                where = ":".join([*full.rsplit(".", 2)[:1], ".".join(full.rsplit(".", 2)[1:])])
                raise Refused(404, "notFound", f"Not found: Table {where} was not found in location US")
            version = node.args.get("version")
            if times.setdefault(full, version and version.sql()) != (version and version.sql()):
                raise Refused(400, "invalidQuery", f"Table {full} is read at two times")
            alias = exp.to_identifier(node.alias or node.name)
            if table.kind == "VIEW":
                if version:
                    raise Refused(400, "invalidQuery", "FOR SYSTEM_TIME AS OF is not for views")
                inner = sqlglot.parse_one(table.view, read="bigquery")
                self._resolve(inner, default, read)
                node.replace(inner.subquery(alias=alias))
            else:
                stored = self._version(table, version)
                node.replace(exp.to_table(stored).as_(alias, table=True))
            if table not in read:
                read.append(table)

    def _version(self, table, version):
        if version is None:
            return table.versions[-1][1]
        wanted = self._ask(f"SELECT {version.expression.sql(dialect='duckdb')}", {})[0][0]
        past = datetime.now(UTC) - self.window
        kept = [stored for time, stored in table.versions if time <= wanted]
        if wanted < past or not kept:
            project, rest = table.name.split(".", 1)
            micros = int(wanted.timestamp() * 1000)
            raise Refused(
                400,
                "invalidQuery",
                f"Invalid snapshot time {micros} for table {project}:{rest}@{micros}. "
                f"Cannot read before {int(past.timestamp() * 1000)}.",
            )
        return kept[-1]

    def _bind(self, tree, parameters):
        for node in list(tree.find_all(exp.Parameter)):
            if node.name not in parameters:
                raise Refused(400, "invalidQuery", f"Query parameter '{node.name}' not found")
            node.replace(exp.cast(node.copy(), parameters[node.name][0], dialect="bigquery"))

    def _annotate(self, tree, read):
        columns = {}
        for table in read:
            for _, stored in table.versions:
                columns[stored or "_"] = {each["name"]: _spelt(each) for each in table.fields}
        schema = MappingSchema(columns, dialect="bigquery")
        try:
            known = qualify(tree.copy(), schema=schema, dialect="bigquery", validate_qualify_columns=False)
            return annotate_types(known, schema=schema, dialect="bigquery")
        except SqlglotError as error:
            raise Refused(400, "invalidQuery", f"Query error: {error}") from None


def _within(node, name):
    """Return whether a table stands in the definition of the WITH of that name, where it still is the table."""
    cte = node.find_ancestor(exp.CTE)
    return cte is not None and (cte.alias_or_name == name or _within(cte, name))


def _spelt(field):
    inner = ", ".join(f"{each['name']} {_spelt(each)}" for each in field.get("fields", ()))
    kind = f"STRUCT<{inner}>" if field["type"] == "RECORD" else field["type"]
    return f"ARRAY<{kind}>" if field["mode"] == "REPEATED" else kind


def _field(column, annotated):
    """Return the field of a result: as DuckDB has it, but for what DuckDB keeps as text."""
    spelt = annotated.sql("bigquery") if annotated is not None else ""
    if not any(kind in spelt for kind in types.KEPT_AS_TEXT):
        return types.from_arrow(column.name, column.type)
    return _from_annotated(column.name, annotated)


def _from_annotated(name, kind):
    if kind.is_type(exp.DataType.Type.ARRAY):
        return {**_from_annotated(name, kind.expressions[0]), "mode": "REPEATED"}
    if kind.is_type(exp.DataType.Type.STRUCT):
        return types.field(name, "RECORD", fields=[_from_annotated(e.name, e.args["kind"]) for e in kind.expressions])
    return types.field(name, kind.sql("bigquery"))


_TIMES = {"DATE": "DATE", "TIMESTAMP": "DATETIME", "DATETIME": "DATETIME", "TIMESTAMPTZ": "TIMESTAMP"}


def _check_comparisons(tree):
    """Refuse to compare a TIMESTAMP with anything else, as BigQuery does and DuckDB does not."""
    for node in tree.find_all(exp.GT, exp.GTE, exp.LT, exp.LTE, exp.EQ, exp.NEQ, exp.Between):
        others = [node.args["low"], node.args["high"]] if isinstance(node, exp.Between) else [node.expression]
        kinds = [_TIMES.get(each.type.this.name) if each.type else None for each in (node.this, *others)]
        if None not in kinds and "TIMESTAMP" in kinds and len(set(kinds)) > 1:
            sign = {"GTE": ">=", "LT": "<", "GT": ">", "LTE": "<=", "EQ": "=", "NEQ": "!="}
            name = sign.get(type(node).__name__, "BETWEEN")
            raise Refused(
                400,
                "invalidQuery",
                f"No matching signature for operator {name} for argument types: {', '.join(kinds)}\n"
                f"  Signature: T1 {name} T1\n    Unable to find common supertype at [1:8]",
            )
