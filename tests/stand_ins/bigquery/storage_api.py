"""The Storage Read API over gRPC, with the real protos: Arrow only, several streams, reading on at an offset."""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types as protos

_ROWS = 50
_STREAMS = 3


class StorageApi:
    """Serves the tables of results; `stand_in` tells of faults and is told what is asked."""

    def __init__(self, stand_in):
        self._stand_in, self._streams, self._lock = stand_in, {}, threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(16))
        calls = {
            "CreateReadSession": grpc.unary_unary_rpc_method_handler(
                self._create, protos.CreateReadSessionRequest.deserialize, protos.ReadSession.serialize
            ),
            "ReadRows": grpc.unary_stream_rpc_method_handler(
                self._read, protos.ReadRowsRequest.deserialize, protos.ReadRowsResponse.serialize
            ),
        }
        service = "google.cloud.bigquery.storage.v1.BigQueryRead"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, calls),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def close(self):
        self._server.stop(None)

    def _create(self, request, context):
        self._stand_in.note("storage.CreateReadSession", (request.read_session.table, request.max_stream_count))
        if self._stand_in.fault("storage_denied"):
            message = "Permission 'bigquery.readsessions.create' denied on resource"
            context.abort(grpc.StatusCode.PERMISSION_DENIED, message)
        _, project, _, dataset, _, name = request.read_session.table.split("/")
        table = self._stand_in.results.get(f"{project}.{dataset}.{name}")
        if table is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Not found: Table {project}:{dataset}.{name}")
        if request.read_session.data_format != protos.DataFormat.ARROW:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "the stand-in has Arrow only")
        count = min(request.max_stream_count or _STREAMS, _STREAMS, max(table.num_rows, 0))
        session = protos.ReadSession(request.read_session)
        session.name = f"projects/{project}/locations/us/sessions/s{len(self._streams)}"
        session.arrow_schema = protos.ArrowSchema(serialized_schema=table.schema.serialize().to_pybytes())
        options = request.read_session.read_options.arrow_serialization_options
        for i in range(count):
            part = table.slice(
                table.num_rows * i // count, table.num_rows * (i + 1) // count - table.num_rows * i // count
            )
            stream = f"{session.name}/streams/{i}"
            with self._lock:
                self._streams[stream] = (part, options.buffer_compression)
            session.streams.append(protos.ReadStream(name=stream))
        return session

    def _read(self, request, context):
        self._stand_in.note("storage.ReadRows", (request.read_stream, request.offset))
        part, compression = self._streams[request.read_stream]
        for batch in part.slice(request.offset).combine_chunks().to_batches(_ROWS):
            yield protos.ReadRowsResponse(
                arrow_record_batch=protos.ArrowRecordBatch(
                    serialized_record_batch=_packed(batch, compression), row_count=batch.num_rows
                ),
                row_count=batch.num_rows,
            )
            if self._stand_in.fault("broken_stream"):
                context.abort(grpc.StatusCode.UNAVAILABLE, "the stream broke")
            if self._stand_in.fault("lost_stream"):
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the session expired")


def _packed(batch, compression):
    """Return one record batch message, compressed as the session asked for."""
    codecs = protos.ArrowSerializationOptions.CompressionCodec
    names = {codecs.LZ4_FRAME: "lz4", codecs.ZSTD: "zstd"}
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=names.get(compression))
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    messages = pa.ipc.MessageReader.open_stream(sink.getvalue())
    return list(messages)[1].serialize().to_pybytes()
