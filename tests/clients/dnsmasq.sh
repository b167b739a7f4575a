#!/bin/sh
# dnsmasq as the stub's client, asked by dig.
set -eu
dnsmasq --conf-file=/dev/null --no-daemon --pid-file= --no-hosts --no-resolv \
    --server=127.0.0.1 --listen-address=127.0.0.2 --bind-interfaces &
exec "$(dirname "$0")/behind.sh" 127.0.0.2 "$(dnsmasq --version | cut -d' ' -f1-3 | head -n1)" "$@"
