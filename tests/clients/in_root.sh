#!/bin/sh
# A program in another root, as `in_root.sh ROOT PROGRAM WORD…`, with the enclave's resolv.conf and
# nothing else of the enclave's that names are resolved by.
set -eu
root=$1
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
mount -t tmpfs client "$root/tmp"
cp "$2" "$root/tmp/client"
shift 2
exec chroot "$root" /tmp/client "$@"
