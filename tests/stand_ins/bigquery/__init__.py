"""A stand-in for BigQuery that the real client libraries talk to: REST, Storage Read API and a bit of Cloud Storage.

It answers on two ports of this machine, HTTP and gRPC; queries run on DuckDB, translated by SQLGlot. What it is good
for: whether our side asks in the right way, and what it does when the other side fails (`StandIn.fail`). What it is
not: BigQuery. Its SQL is DuckDB's, its plans, prices and quotas are made up, and its types are checked only where a
comparison of times is concerned. Therefore:

- every request and response of REST is checked against the published discovery document, of which `discovery/` has
  those methods and schemas that are used here; an exchange that is not of that shape is an error (`violations`);
- the Storage Read API speaks the real protos of google-cloud-bigquery-storage, and Arrow as they define it.

What only this stand-in accepts proves nothing.
"""

from tests.stand_ins.bigquery.server import StandIn

__all__ = ["StandIn"]
