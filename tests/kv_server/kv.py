"""A key-value service over gRPC, without generated code: `kv.py serve ADDRESS`, `kv.py get TARGET KEY`."""

import sys
from concurrent import futures

import grpc

METHOD = "Get"
SERVICE = "kv.KeyValue"


def serve(address):
    def get(key, context):
        return b"value of " + key

    server = grpc.server(futures.ThreadPoolExecutor(4))
    handlers = {METHOD: grpc.unary_unary_rpc_method_handler(get)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


def get(target, key):
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(f"/{SERVICE}/{METHOD}")
        print(call(key.encode(), timeout=10, wait_for_ready=True).decode())


{"serve": serve, "get": get}[sys.argv[1]](*sys.argv[2:])
