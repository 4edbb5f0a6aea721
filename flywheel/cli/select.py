"""`flywheel select`: which logged requests to have labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flywheel.cli.arguments import Folder, Profile


def select(
    folder: Folder = Path(),
    budget: Annotated[int, typer.Option("--budget", "-n", min=1, help="How many labels there may be.")] = 100,
    until: Annotated[
        str, typer.Option("--until", metavar="SPAN", help="Last span.", show_default="the newest with requests")
    ] = "",
    spans: Annotated[int, typer.Option("--spans", min=1, help="How many spans up to it.")] = 1,
    by: Annotated[str, typer.Option("--by", help="margin or entropy of the probabilities.")] = "margin",
    slice: Annotated[str, typer.Option("--slice", metavar="COLUMN", help="Share the budget among its values.")] = "",
    random_part: Annotated[float, typer.Option("--random", help="Share that is drawn by lot.", min=0.01, max=1)] = 0.2,
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV file to write.")] = Path("to-label.csv"),
    profile: Profile = None,
) -> None:
    """Choose logged requests to have labelled: those that the model is unsure of, and a part by lot.

    The file has the requests as they were logged, `why` (random or informative) and `inclusion`, the chance of the
    random part to take a row: use that part alone, weighted by one over it, to say how good the model is. Diversity and
    disagreement with a challenger are functions of `flywheel.monitoring.select`.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    from flywheel.errors import ConfigError
    from flywheel.monitoring import log as logs
    from flywheel.monitoring import select as choose
    from flywheel.serving.pyfunc import PREDICTION, PROBABILITY
    from flywheel.serving.request_log import REQUEST, ROW
    from flywheel.spans import Span
    from flywheel.workspace import Workspace

    here = Workspace.open(folder, profile)
    scored = {"margin": choose.margin, "entropy": choose.entropy}
    if by not in scored:
        raise ConfigError(f"--by {by!r} is unknown", f"use {' or '.join(scored)}.")
    if here.project.task == "regression":
        raise ConfigError("a number has no margin", "flywheel select is for classes.")
    requests, every = here.logged(), here.project.source.every
    if not requests:
        raise ConfigError("no requests are logged on this machine", "give `deploy: {log: {sample: 1.0}}`.")
    last = Span.parse(until, every) if until else logs.newest_span(Path(requests), every)
    with logs.Log.of_folder(Path(requests), last.back(spans)) as log:
        answers = [name for name in log.columns if name.startswith(PROBABILITY)] or [PREDICTION]
        if slice and slice not in log.inputs:
            raise ConfigError(f"--slice names {slice!r}, which is not logged", f"there are {', '.join(log.inputs)}.")
        own = [name for name in (REQUEST, ROW) if name in log.columns]
        columns = list(dict.fromkeys([*own, *log.inputs, *answers]))
        batches = [batch for span in log.spans for batch in log.batches(span, columns, 1_000_000)]
        total = sum(log.rows().values())
        if not batches:
            raise ConfigError(f"no requests are logged in {last}", "choose another span by --until.")
        table = pa.Table.from_batches(batches)
    p = np.stack([np.nan_to_num(table[name].to_numpy().astype(float)) for name in answers], axis=1)
    p = np.hstack([1 - p, p]) if answers == [PREDICTION] else p
    groups = np.array(table[slice].cast(pa.string()).fill_null("").to_pylist(), object) if slice else None
    found = choose.select(scored[by](p), budget, slices=groups, random_part=random_part)
    chosen = table.take(pa.array(found.rows)).append_column("why", pa.array(found.why))
    chosen = chosen.append_column("inclusion", pa.array(found.inclusion * table.num_rows / total))
    kept = [name for name in chosen.column_names if not pa.types.is_binary(chosen.schema.field(name).type)]
    partial = output.with_name(f".{output.name}.partial")
    csv.write_csv(chosen.select(kept), str(partial))
    partial.replace(output)
    typer.echo(f"{len(found.rows):,} of {table.num_rows:,} rows to label are in {output}: ", nl=False)
    typer.echo(f"{found.why.count('informative'):,} by {by}, {found.why.count('random'):,} by lot")
