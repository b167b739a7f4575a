"""A gRPC program whose resolver is c-ares: a call by name, to a server of this enclave's own.

The addresses found stand in its trace. A call goes to one of them, and the server says to which: addresses of one's
own are called from themselves. gRPC cannot ask for an address's name.
"""

import ipaddress
import os
import re
import sys
import tempfile
import urllib.parse
from concurrent import futures

os.environ.update(GRPC_DNS_RESOLVER="ares", GRPC_VERBOSITY="DEBUG", GRPC_TRACE="cares_resolver")
# The trace goes to file descriptor 2; Python's own errors stay where they were.
sys.stderr = os.fdopen(os.dup(2), "w")
WRITTEN = tempfile.NamedTemporaryFile("ab")
os.dup2(WRITTEN.fileno(), 2)
TRACE = open(WRITTEN.name, encoding="utf-8", errors="replace")

import grpc

METHOD = "/matrix.Server/Peer"


class Server(grpc.GenericRpcHandler):
    def service(self, _):
        return grpc.unary_unary_rpc_method_handler(lambda _, context: context.peer().encode())


def address(peer):
    """Of `ipv4:10.0.1.17:50051` or `ipv6:%5B::ffff:10.0.1.17%5D:50051`."""
    _, host = urllib.parse.unquote(peer).rsplit(":", 1)[0].split(":", 1)
    parsed = ipaddress.ip_address(host.strip("[]"))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def lookup(name, port):
    TRACE.read()
    with grpc.insecure_channel(f"{name}:{port}", (("grpc.enable_http_proxy", 0),)) as channel:
        try:
            reached = address(channel.unary_unary(METHOD)(b"", timeout=20).decode())
        except grpc.RpcError as error:
            return canonical(error.details())
    found = re.findall(r"addr: (\S+)", TRACE.read())
    return " ".join(found) if reached in found else f"reached {reached}, found {found}"


def canonical(details):
    if "Domain name not found" in details:
        return "NXDOMAIN"
    if "DNS server returned answer with no data" in details:
        return "NODATA"
    return details


server = grpc.server(futures.ThreadPoolExecutor(1))
server.add_generic_rpc_handlers((Server(),))
port = server.add_insecure_port("[::]:0")
server.start()
print("gRPC", grpc.__version__)
for word in sys.argv[1:]:
    print(lookup(word, port))
server.stop(0)
