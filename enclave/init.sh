#!/bin/sh
# The command of an image that has none, or that starts without Nitro's own init: mounts what programs
# expect and nothing else has mounted, and becomes proxify.
#
#   CMD ["/init.sh", "--", "/app", "--port=8080"]
#
# Its arguments are proxify's. It needs a shell, mkdir and mount, as busybox brings them.

# mount_at PATH TYPE OPTIONS
mount_at() {
    while read -r _ path _; do
        [ "$path" = "$1" ] && return
    done 2>/dev/null </proc/mounts
    mkdir -p "$1" && mount -t "$2" -o "$3" "$2" "$1" || echo "init.sh: no $2 on $1" >&2
}

# First, since it says what is mounted.
mount_at /proc proc nosuid,nodev,noexec
mount_at /sys sysfs nosuid,nodev,noexec
# Random numbers, and the TUN that carries connections out.
mount_at /dev devtmpfs nosuid,noexec
mount_at /dev/pts devpts nosuid,noexec
mount_at /dev/shm tmpfs nosuid,nodev,noexec
mount_at /run tmpfs nosuid,nodev,noexec,mode=0755
mount_at /tmp tmpfs nosuid,nodev,noexec

exec /proxify "$@"
