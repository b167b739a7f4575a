"""A TCP server that answers with what it was sent, and clients of it.

tcp.py serve ADDRESS:PORT        reads to the end, then sends all of it back
tcp.py once ADDRESS:PORT SIZE    sends SIZE bytes to the first that connects, and ends
tcp.py fetch ADDRESS:PORT        prints how many bytes come; fails if none does
tcp.py echo ADDRESS:PORT SIZE    sends SIZE bytes, ends its half, prints whether the same came back
tcp.py row ADDRESS:PORT COUNT    COUNT connections, one after the other; prints how many were served
tcp.py crowd ADDRESS:PORT COUNT  COUNT connections, all open before the first is used; prints likewise
"""

import os
import socket
import socketserver
import sys
import threading

TIMEOUT = 60


def read_all(connection):
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(read_all(self.request))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 1024
    daemon_threads = True


class Server6(Server):
    address_family = socket.AF_INET6


def connect(address):
    return socket.create_connection(address, TIMEOUT)


def served(connection, sent):
    with connection:
        sender = threading.Thread(target=send, args=(connection, sent))
        sender.start()
        came = read_all(connection)
        sender.join()
        return came == sent


def send(connection, sent):
    connection.sendall(sent)
    connection.shutdown(socket.SHUT_WR)


def main(job, address, *rest):
    host, port = address.rsplit(":", 1)
    address = (host.strip("[]"), int(port))
    if job == "serve":
        (Server6 if ":" in address[0] else Server)(address, Echo).serve_forever()
    elif job == "echo":
        print("same" if served(connect(address), os.urandom(int(rest[0]))) else "different")
    elif job == "row":
        print(sum(served(connect(address), b"%d" % i) for i in range(int(rest[0]))))
    elif job == "crowd":
        crowd = [connect(address) for _ in range(int(rest[0]))]
        print(sum(served(each, b"%d" % i) for i, each in enumerate(crowd)))
    elif job == "once":
        with socket.create_server(address) as listener:
            listener.accept()[0].sendall(bytes(int(rest[0])))
    elif job == "fetch":
        size = len(read_all(connect(address)))
        print(size)
        sys.exit(size == 0)
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
