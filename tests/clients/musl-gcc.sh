#!/bin/sh
# getaddrinfo.c by musl-gcc, as `musl-gcc.sh ROOT ARGUMENT…`; ROOT is where it will run and says which musl that is.
version=$("$1/lib/ld-musl-x86_64.so.1" 2>&1 | sed -n 's/^Version //p')
shift
exec musl-gcc -Wall -Werror -DVERSION="\"musl\", \"$version\"" "$@" "$(dirname "$0")/getaddrinfo.c"
