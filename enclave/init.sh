#!/bin/sh
# The first program of an image whose base brings no init: mounts what a program expects and nothing
# else has mounted, then becomes proxify.
#
#   ENTRYPOINT ["/init.sh"]
#   CMD ["/app", "--port=8080"]            or proxify's own options before it
#
# It needs a shell, mount and mkdir in the image, as busybox brings them.

# mount_at PATH TYPE [OPTIONS]
mount_at() {
    mkdir -p "$1"
    while read -r _ path _; do
        [ "$path" = "$1" ] && return
    done 2>/dev/null </proc/mounts
    mount -t "$2" -o "${3:-nosuid,nodev,noexec}" "$2" "$1" || echo "init.sh: no $2 on $1" >&2
}

mount_at /proc proc
mount_at /sys sysfs
mount_at /dev devtmpfs nosuid,noexec
mount_at /dev/pts devpts nosuid,noexec
mount_at /dev/shm tmpfs nosuid,nodev
mount_at /run tmpfs nosuid,nodev,mode=0755
mount_at /tmp tmpfs nosuid,nodev

# TUN, which carries connections out, where the kernel does not make the node itself.
[ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200; } 2>/dev/null

exec /proxify "$@"
