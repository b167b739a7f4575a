"""A Python program: socket.getaddrinfo, and socket.getnameinfo for a word that is an IPv4 address."""

import platform
import re
import socket
import sys

ERRORS = {socket.EAI_NONAME: "NXDOMAIN", socket.EAI_NODATA: "NODATA"}


def lookup(word):
    if re.fullmatch("[0-9.]+", word):
        return socket.getnameinfo((word, 0), socket.NI_NAMEREQD)[0]
    found = socket.getaddrinfo(word, None, type=socket.SOCK_STREAM)
    return " ".join(address[0] for *_, address in found)


print("Python", platform.python_version())
for word in sys.argv[1:]:
    try:
        print(lookup(word))
    except socket.gaierror as error:
        print(ERRORS.get(error.errno, error))
