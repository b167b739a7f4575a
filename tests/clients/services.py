"""Services in the VPC, on every address: 7 echoes, 9 counts what it gets until the end of file, 19 greets, 8080 is HTTP."""

import asyncio
import pathlib
import sys


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def count(reader, writer):
    total = 0
    while data := await reader.read(65536):
        total += len(data)
    writer.write(b"%d\n" % total)


async def greet(reader, writer):
    writer.write(b"hello\n")
    await reader.read()


async def http(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n")


def serve(handle):
    async def served(reader, writer):
        try:
            await handle(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()

    return served


async def main():
    for port, handle in {7: echo, 9: count, 19: greet, 8080: http}.items():
        await asyncio.start_server(serve(handle), None, port, backlog=1024)
    pathlib.Path(sys.argv[1]).touch()
    await asyncio.Event().wait()


asyncio.run(main())
