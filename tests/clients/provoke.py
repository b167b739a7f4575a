"""What well-behaved programs do not do, so that its metric moves.

provoke.py ask COUNT SUFFIX…       COUNT queries for new names under each, all at once; waits for no reply
provoke.py drop                    a packet to the stub that is none
provoke.py hold ADDRESS:PORT…      a connection to each, kept for a second
provoke.py silent ADDRESS:PORT…    nameservers that never answer, until killed
provoke.py garbage PATH            a handshake that is none, at the relay
provoke.py requests PATH HEX…      SOCKS5 requests on a connection each, kept until all have a reply
provoke.py connect PATH COUNT      COUNT connections to the relay at once, which say nothing
"""

import os
import resource
import socket
import struct
import sys
import time

# Descriptors beside those of connections, of the relay too.
SPARE = 1024
STUB = ("127.0.0.1", 53)


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def query(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


def link(path):
    # Without a deadline: with one, a full queue of the listener's is an error at once.
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.settimeout(30)
    return connection


def main(job, *rest):
    if job == "ask":
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for suffix in rest[1:]:
            for number in range(int(rest[0])):
                asker.sendto(query(f"new{os.getpid()}-{number}.{suffix}"), STUB)
                if number % 64 == 63:
                    time.sleep(0.002)
    elif job == "drop":
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"?", STUB)
    elif job == "hold":
        held = [socket.create_connection(address(each), 30) for each in rest]
        time.sleep(1)
        for each in held:
            each.sendall(b"held")
            each.shutdown(socket.SHUT_WR)
            print(each.recv(4).decode())
    elif job == "silent":
        held = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in rest]
        for each, where in zip(held, rest):
            each.bind(address(where))
        time.sleep(600)
    elif job == "garbage":
        connection = link(rest[0])
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while connection.recv(64):
            pass
    elif job == "requests":
        held = []
        for request in rest[1:]:
            connection = link(rest[0])
            connection.sendall(bytes.fromhex("050100" + request))
            held.append(connection)
        for connection in held:
            connection.recv(2)
            connection.recv(10)
    elif job == "connect":
        count = int(rest[1])
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < count + SPARE:
            sys.exit(f"the relay and this need {count + SPARE} descriptors each, and may have {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + SPARE, hard))
        held = [link(rest[0]) for _ in range(count)]
        # The last is closed at once.
        held[-1].recv(1)
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
