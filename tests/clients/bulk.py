"""Bytes in bulk, each checked by both ends.

bulk.py serve ADDRESS:PORT         on each connection: takes `put SIZE`, the bytes, and says their digest;
                                   or takes `get SIZE`, says the digest and sends them
bulk.py put|get ADDRESS:PORT SIZE  prints `same` if both ends have the same digest
bulk.py row ADDRESS:PORT COUNT     COUNT connections, one after the other, each with a byte to and fro
bulk.py hold ADDRESS:PORT COUNT    COUNT connections at once; each has carried a byte when it prints `held`,
                                   carries another when it is told by a line, and prints how many did
"""

import hashlib
import random
import socket
import socketserver
import sys

BLOCK = 1 << 20


def pieces(size):
    """SIZE bytes in which no two blocks are alike."""
    block = random.Random(size).randbytes(BLOCK)
    for start in range(0, size, BLOCK):
        yield (start.to_bytes(8, "big") + block[8:])[: size - start]


def digest(size):
    return hashed(pieces(size))


def hashed(all_pieces):
    digest = hashlib.sha256()
    for piece in all_pieces:
        digest.update(piece)
    return digest.hexdigest()


def received(stream, size):
    while size:
        piece = stream.read(min(size, BLOCK))
        if not piece:
            raise EOFError(f"{size} bytes are missing")
        size -= len(piece)
        yield piece


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            job, size = line.split()
            size = int(size)
            if job == b"put":
                self.wfile.write(hashed(received(self.rfile, size)).encode() + b"\n")
            elif job == b"get":
                self.wfile.write(digest(size).encode() + b"\n")
                for piece in pieces(size):
                    self.wfile.write(piece)
            else:
                self.wfile.write(line)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 4096
    daemon_threads = True


def echo(connection):
    connection.sendall(b"x 1\n")
    answer = b""
    while not answer.endswith(b"\n"):
        answer += connection.recv(100) or b"\n"
    return answer == b"x 1\n"


def main(job, address, *rest):
    host, port = address.rsplit(":", 1)
    address = (host, int(port))
    if job == "serve":
        return Server(address, Session).serve_forever()
    count = int(rest[0])
    if job == "row":
        def once():
            with socket.create_connection(address) as connection:
                return echo(connection)
        return print(sum(once() for _ in range(count)))
    if job == "hold":
        held = [socket.create_connection(address) for _ in range(count)]
        print("held" if all(map(echo, held)) else "lost", flush=True)
        sys.stdin.readline()
        return print(sum(map(echo, held)))
    with socket.create_connection(address) as connection:
        stream = connection.makefile("rb")
        connection.sendall(f"{job} {count}\n".encode())
        if job == "put":
            for piece in pieces(count):
                connection.sendall(piece)
            theirs, ours = stream.readline(), digest(count)
        else:
            theirs = stream.readline()
            ours = hashed(received(stream, count))
        print("same" if theirs.decode().strip() == ours else "different")


main(*sys.argv[1:])
