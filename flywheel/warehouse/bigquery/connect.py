"""Clients: by the account's own credentials, or of a stand-in that the environment names."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from flywheel.errors import ConfigError

if TYPE_CHECKING:
    from google.cloud import bigquery, bigquery_storage_v1
    from google.cloud.storage import Client as CloudStorage

REST = "BIGQUERY_EMULATOR_HOST"
"""URL of a stand-in for BigQuery, as http://localhost:9050; the client library itself reads it."""

STORAGE = "BIGQUERY_STORAGE_EMULATOR_HOST"
"""host:port of a stand-in for the Storage Read API, plain gRPC. Ours: the library has none. With `REST` and without
this one results come by REST, for a stand-in's tables are not to be looked for at Google."""

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class Clients:
    """The clients of one warehouse, each made when it is first asked for.

    Args:
        project: Who pays.
        location: Where jobs run; None where BigQuery finds out.

    Raises:
        ConfigError: There are no credentials.
    """

    def __init__(self, project: str, location: str | None) -> None:
        from google.cloud import bigquery

        self._project, self._lock, self._stored = project, threading.Lock(), dict[str, Any]()
        self._credentials = _credentials()
        self.bigquery: bigquery.Client = bigquery.Client(project, credentials=self._credentials, location=location)

    @property
    def has_storage_api(self) -> bool:
        """Whether there is a Storage Read API to ask: at Google always, at a stand-in when it is named."""
        return not os.environ.get(REST) or bool(os.environ.get(STORAGE))

    def read(self) -> bigquery_storage_v1.BigQueryReadClient:
        """Return the client of the Storage Read API."""
        with self._lock:
            if "read" not in self._stored:
                self._stored["read"] = self._read_client()
            client: bigquery_storage_v1.BigQueryReadClient = self._stored["read"]
        return client

    def _read_client(self) -> bigquery_storage_v1.BigQueryReadClient:
        from google.cloud.bigquery_storage_v1 import BigQueryReadClient

        host = os.environ.get(STORAGE)
        if not host:
            return BigQueryReadClient(credentials=self._credentials)
        import grpc
        from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

        channel = grpc.insecure_channel(host, options=[("grpc.max_receive_message_length", -1)])
        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))

    def cloud_storage(self) -> CloudStorage:
        """Return the client of Cloud Storage; it reads STORAGE_EMULATOR_HOST by itself."""
        from google.cloud.storage import Client

        with self._lock:
            if "gcs" not in self._stored:
                self._stored["gcs"] = Client(self._project, credentials=self._credentials)
            client: CloudStorage = self._stored["gcs"]
        return client

    def close(self) -> None:
        """Close every connection."""
        self.bigquery.close()
        if "read" in self._stored:
            self._stored["read"].transport.close()
        if "gcs" in self._stored:
            self._stored["gcs"].close()


def _credentials() -> Any:
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError

    if os.environ.get(REST):
        return AnonymousCredentials()
    try:
        return google.auth.default(scopes=_SCOPES)[0]
    except GoogleAuthError as error:
        raise ConfigError(
            f"there are no Google credentials for BigQuery: {str(error).strip().splitlines()[0]}",
            "on a machine of your own run `gcloud auth application-default login`; elsewhere set "
            "GOOGLE_APPLICATION_CREDENTIALS to a key file, or give the pod a service account (Workload Identity).",
        ) from None
