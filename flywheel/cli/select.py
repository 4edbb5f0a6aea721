"""`flywheel select`: which logged requests to have labelled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Folder, Profile

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_BY = ("margin", "entropy", "disagreement", "dynamics")


def select(
    folder: Folder = Path(),
    budget: Annotated[int, typer.Option("--budget", "-n", min=1, help="How many labels there may be.")] = 100,
    until: Annotated[
        str, typer.Option("--until", metavar="SPAN", help="Last span.", show_default="the newest with requests")
    ] = "",
    spans: Annotated[int, typer.Option("--spans", min=1, help="How many spans up to it.")] = 1,
    by: Annotated[str, typer.Option("--by", help="margin, entropy, disagreement or dynamics.")] = "margin",
    diverse: Annotated[bool, typer.Option("--diverse", help="Of what --by ranks first, take rows far apart.")] = False,
    against: Annotated[
        str, typer.Option(metavar="VERSION", help="For disagreement with the champion.", show_default="the newest")
    ] = "",
    versions: Annotated[int, typer.Option(min=2, help="For dynamics: how many versions, up to the newest.")] = 5,
    slice: Annotated[str, typer.Option("--slice", metavar="COLUMN", help="Share the budget among its values.")] = "",
    random_part: Annotated[float, typer.Option("--random", help="Share that is drawn by lot.", min=0.01, max=1)] = 0.2,
    lists: Annotated[
        list[Path],
        typer.Option(
            "--exclude", metavar="FILE", exists=True, dir_okay=False, help="CSV of a selection made elsewhere."
        ),
    ] = [],  # noqa: B006 - typer copies it
    again: Annotated[bool, typer.Option("--again", help="Also what was chosen before, or has a label.")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV file to write.")] = Path("to-label.csv"),
    profile: Profile = None,
) -> None:
    """Choose logged requests to have labelled: those that a label teaches most of, and a part by lot.

    --by margin and entropy are of what was answered; disagreement is the champion's with another version, dynamics how
    unsure the last versions were of it on average. These and --diverse load packaged models and ask them.

    Left out are requests that an earlier selection in this folder chose, or one in --exclude, and those that have a
    label by `monitor.labels`.

    The file has the requests as they were logged, `why` (random or informative) and `inclusion`, the chance of the
    random part to take a row: use that part alone, weighted by one over it, to say how good the model is.
    """
    import numpy as np
    import pyarrow as pa

    from flywheel.errors import ConfigError
    from flywheel.monitoring import log as logs
    from flywheel.monitoring import select as choose
    from flywheel.monitoring import taken
    from flywheel.serving.pyfunc import PREDICTION, PROBABILITY
    from flywheel.serving.request_log import REQUEST, ROW
    from flywheel.spans import Span, listed
    from flywheel.workspace import Workspace

    here = Workspace.open(folder, profile)
    if by not in _BY:
        raise ConfigError(f"--by {by!r} is unknown", f"use {', '.join(_BY[:-1])} or {_BY[-1]}.")
    if here.project.task == "regression" and by in ("margin", "entropy"):
        raise ConfigError(f"a number has no {by}", "use --by disagreement or dynamics.")
    requests, every = here.logged(), here.project.source.every
    if not requests:
        raise ConfigError("no requests are logged on this machine", "give `deploy: {log: {sample: 1.0}}`.")
    folder_of_ids = here.state / taken.FOLDER
    last = Span.parse(until, every) if until else logs.newest_span(Path(requests), every)
    with logs.Log.of_folder(Path(requests), last.back(spans)) as log:
        answers = [name for name in log.columns if name.startswith(PROBABILITY)] or [PREDICTION]
        if slice and slice not in log.inputs:
            raise ConfigError(f"--slice names {slice!r}, which is not logged", f"there are {', '.join(log.inputs)}.")
        own = [name for name in (REQUEST, ROW) if name in log.columns]
        key, left = taken.key_of(log, here.project.monitor.id), {}
        if not again:
            left["were chosen before"] = taken.leave_out_chosen(log, folder_of_ids, lists, key)
            if labels := here.labels_query():
                source, monitor = here.project.source.for_steps(), here.project.monitor
                left["have a label"] = taken.leave_out_labelled(log, labels, here.warehouse, source, monitor)
        away = " and ".join(f"{count:,} {why}" for why, count in left.items() if count)
        columns = list(dict.fromkeys([*own, *(name for name in key if name in log.columns), *log.inputs, *answers]))
        batches = [batch for span in log.spans for batch in log.batches(span, columns, 1_000_000)]
        total = sum(log.rows().values())
        if not batches:
            named = listed([span.name for span in log.spans])
            none = f"no requests of {named} are left: {away}" if away else f"no requests are logged in {named}"
            raise ConfigError(none, "choose another span by --until" + (", or take them by --again." if away else "."))
        table = pa.Table.from_batches(batches)
    points, how = None, by
    if by in ("margin", "entropy"):
        scores = {"margin": choose.margin, "entropy": choose.entropy}[by](_answered(table, answers))
    if diverse or by not in ("margin", "entropy"):
        from flywheel.monitoring.asked import Asked

        asked = Asked(here.ledger, here.project.name)
        points = asked.points(batches) if diverse else None
        if by == "disagreement":
            scores, how = asked.disagreement(batches, against)
        elif by == "dynamics":
            scores, how = asked.dynamics(batches, versions)
    groups = table[slice].combine_chunks().dictionary_encode().indices if slice else None
    found = choose.select(
        scores,
        budget,
        points=points,
        slices=None if groups is None else np.asarray(groups.fill_null(-1)),
        random_part=random_part,
    )
    chosen = table.take(pa.array(found.rows)).append_column("why", pa.array(found.why))
    _write(chosen.append_column("inclusion", pa.array(found.inclusion * table.num_rows / total)), output)
    taken.remember(chosen, folder_of_ids, key)
    typer.echo(f"{len(found.rows):,} of {table.num_rows:,} rows to label are in {output}: ", nl=False)
    typer.echo(f"{found.why.count('informative'):,} by {how}{', far apart' if diverse else ''}, ", nl=False)
    typer.echo(f"{found.why.count('random'):,} by lot{f'; left out: {away}' if away else ''}")


def _answered(table: pa.Table, answers: list[str]) -> NDArray[np.float64]:
    """Return the probabilities that were answered, shape (rows, classes)."""
    import numpy as np

    p = np.stack([np.nan_to_num(table[name].to_numpy().astype(float)) for name in answers], axis=1)
    return np.hstack([1 - p, p]) if p.shape[1] == 1 else p


def _write(chosen: pa.Table, output: Path) -> None:
    """Write rows as CSV, whole or not at all; what is binary has no place there."""
    import pyarrow as pa
    from pyarrow import csv

    kept = [name for name in chosen.column_names if not pa.types.is_binary(chosen.schema.field(name).type)]
    partial = output.with_name(f".{output.name}.partial")
    csv.write_csv(chosen.select(kept), str(partial))
    partial.replace(output)
