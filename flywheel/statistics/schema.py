"""The schema that statistics suggest, the one that a project keeps, and what of it holds for a single span."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from flywheel.errors import ConfigError
from flywheel.labels import columns_of
from flywheel.statistics.reading import common, features

SCHEMA_FILE = "schema.pbtxt"
TRAINING, SERVING = ENVIRONMENTS = ("TRAINING", "SERVING")
_LEAST_MASS = 0.99
_LEAST_PRESENT = 0.9
_ALWAYS = 0.98


def infer_schema(statistics: Any, label: str = "") -> Any:
    """Return the schema that `statistics` suggest, with room for what a normal day brings.

    TFDV's own inference, and then: a category may be new in up to 1% of the rows that have one (a new destination is
    no alarm, a renamed carrier is), and a column may lack a tenth of the values that it had. Both stand in the schema,
    for people to tighten. Data is that of training unless it is said to be that of serving.

    Args:
        statistics: A `DatasetFeatureStatisticsList` of many spans together.
        label: The column to predict, or columns as `flywheel.labels` joins them; what is served does not have it.
    """
    import tensorflow_data_validation as tfdv

    schema = tfdv.infer_schema(statistics, infer_feature_shape=False)  # a fixed shape forbids any missing value
    schema.default_environment.extend(ENVIRONMENTS)
    rows = statistics.datasets[0].num_examples
    present = {feature.path.step[0]: common(feature).num_non_missing / rows for feature in features(statistics)}
    for feature in schema.feature:
        feature.presence.min_fraction = round(present[feature.name] * _LEAST_PRESENT, 3)
        if feature.WhichOneof("domain_info") in ("domain", "string_domain"):
            feature.distribution_constraints.min_domain_mass = _LEAST_MASS
        if feature.name in columns_of(label):
            feature.not_in_environment.append(SERVING)
    return schema


def for_one_span(schema: Any) -> Any:
    """Return `schema` with the bars for a single span: ten times as many new categories, half the values present.

    One day varies more than the window that the schema is for: its weather may be half missing where the month lacks a
    fifth. A column that is to be there always is to be there in nearly every row of each span.
    """
    loose = type(schema).FromString(schema.SerializeToString())
    for feature in loose.feature:
        always = feature.presence.min_fraction >= _ALWAYS
        feature.presence.min_fraction = _ALWAYS if always else feature.presence.min_fraction / 2
        if feature.HasField("distribution_constraints"):
            mass = feature.distribution_constraints.min_domain_mass
            feature.distribution_constraints.min_domain_mass = max(0.0, 1 - 10 * (1 - mass))
    return loose


def read_schema(archive: Path) -> Any:
    """Return the schema at the root of a project's archive; None when the project has none yet.

    Raises:
        ConfigError: The file is no schema.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    with zipfile.ZipFile(archive) as source:
        if SCHEMA_FILE not in source.namelist():
            return None
        text = source.read(SCHEMA_FILE).decode("utf-8", "replace")
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as error:
        raise ConfigError(
            f"{SCHEMA_FILE} is no schema: {error} (line:column)", "mend it there, or delete it to have it inferred."
        ) from None
