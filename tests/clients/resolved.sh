#!/bin/sh
# systemd-resolved as the stub's client, asked by dig; `resolved.sh ROOT WORD…`, ROOT being a root
# that has it. It resolves nothing while every interface is a loopback: a veth pair stands in for one.
set -eu
root=$1
shift
ip link add up0 type veth peer name up1
ip address add 198.51.100.1/24 dev up0
ip link set up0 up
ip link set up1 up
mount --rbind /proc "$root/proc"
mount -t tmpfs resolved "$root/run"
mount -t tmpfs resolved "$root/etc"
mkdir -p "$root/run/systemd/resolve" "$root/etc/systemd"
touch "$root/etc/resolv.conf"
# It drops root for this user: here, in a user namespace too, root itself.
echo 'systemd-resolve:x:0:0::/:/bin/false' > "$root/etc/passwd"
echo 'systemd-resolve:x:0:' > "$root/etc/group"
cat > "$root/etc/systemd/resolved.conf" <<END
[Resolve]
DNS=127.0.0.1
FallbackDNS=
LLMNR=no
MulticastDNS=no
END
chroot "$root" /lib/systemd/systemd-resolved &
version=$(chroot "$root" /lib/systemd/systemd --version | sed -n 's/^\(systemd\) .*(\(.*\))$/\1-resolved \2/p')
exec "$(dirname "$0")/behind.sh" 127.0.0.53 "$version" "$@"
