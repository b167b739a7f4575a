"""The getter that may run beside the replaced `proxy`, on the same gRPC library: the parent's resolv.conf,
read anew for each call. `old_getter.py [ADDRESS]`; `listening` is its first line, each call another."""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "0.0.0.0:1600"
SERVICE = "privacy_sandbox.server_common.ResolvConfGetterService"


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def resolv_conf(request, context):
    assert request == b"", request
    print("GetResolvConf", flush=True)
    with open("/etc/resolv.conf", "rb") as file:
        text = file.read()
    # string content = 1;
    return b"\x0a" + varint(len(text)) + text


server = grpc.server(ThreadPoolExecutor(1))
handlers = {"GetResolvConf": grpc.unary_unary_rpc_method_handler(resolv_conf)}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
server.add_insecure_port(ADDRESS)
server.start()
print("listening", flush=True)
server.wait_for_termination()
