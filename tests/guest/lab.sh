# Sourced by the tests' scripts, in the enclave of a sandbox: boots guests with a vsock. $GUEST is the
# folder that tests/guest/build made, $IMAGE the files of the guest's image.
#
# Whatever is started here ends with the sandbox's process namespace, also when that is killed.
# shellcheck shell=sh

# The same in all of the sandbox's parts.
LAB=/run/sandbox/guest
QEMU=$GUEST/qemu
MEMORY=256M
mkdir -p $LAB

# within SECONDS CONDITION…: waits until it holds.
within() {
    _until=$(($(date +%s) + $1))
    shift
    while ! "$@"; do
        [ "$(date +%s)" -lt $_until ] || return 1
        sleep 0.05
    done
}

# bridge CID:PREFIX…: a vsock for each of these guests. Their connections to port P of CID 2 come out
# at the unix socket PREFIX_P; to another's CID, there.
bridge() {
    for _vm; do
        shift
        set -- "$@" --vm "guest-cid=${_vm%%:*},socket=$LAB/vhost.${_vm%%:*},uds-path=${_vm#*:}"
    done
    "$GUEST/bin/vhost-device-vsock" "$@" >$LAB/bridge.log 2>&1 &
}

# boot CID INIT ARGUMENTS…: a guest, whose process 1 becomes INIT.
boot() {
    _cid=$1
    shift
    _append="$*"
    within 10 test -S $LAB/vhost.$_cid || { echo "no vsock for guest $_cid:"; cat $LAB/bridge.log; exit 1; } >&2
    (cd "$IMAGE" && find . | "$QEMU/bin/busybox" cpio -o -H newc 2>/dev/null | cat "$GUEST/base.cpio" -) >$LAB/initrd.$_cid
    mkfifo $LAB/input.$_cid
    # shellcheck disable=SC2086,SC2094 # words; and both ends of the pipe, so that it never ends
    LD_LIBRARY_PATH=$QEMU/usr/lib/x86_64-linux-gnu:$QEMU/lib/x86_64-linux-gnu \
    QEMU_MODULE_DIR=$QEMU/usr/lib/x86_64-linux-gnu/qemu \
        ${WHERE-} "$QEMU/usr/bin/qemu-system-x86_64" \
        -L "$QEMU/usr/share/qemu" -L "$QEMU/usr/share/seabios" -L "$QEMU/usr/lib/ipxe/qemu" \
        -nodefaults -no-user-config -display none -no-reboot \
        -accel tcg,thread=multi -cpu max -smp 1 -m $MEMORY \
        -object memory-backend-memfd,id=mem0,size=$MEMORY,share=on -machine q35,memory-backend=mem0 \
        -chardev socket,id=ch0,path=$LAB/vhost.$_cid -device vhost-user-vsock-pci,chardev=ch0 ${DEVICES-} \
        -kernel "$GUEST/vmlinuz" -initrd $LAB/initrd.$_cid -serial stdio \
        -append "console=ttyS0 quiet panic=-1 rdinit=/guest-init -- $_append" \
        <>$LAB/input.$_cid >$LAB/console.$_cid 2>&1 &
    echo $! >$LAB/pid.$_cid
}

# boot_parent: CID 3 as a parent instance, whose relay has the sandbox parent's way into the VPC.
boot_parent() {
    WHERE="$SANDBOX ctl parent"
    DEVICES="-netdev user,id=net0,net=192.168.76.0/24 -device virtio-net-pci,netdev=net0,romfile="
    boot 3 /parent-init
    unset WHERE DEVICES
}

# console CID: what the guest has printed.
console() { tr -d '\r' <$LAB/console.$1; }

# told CID: the lines that its application began with `= `.
told() { console $1 | sed -n 's/^= //p'; }

# status CID: the exit status of process 1, from the kernel's last words.
status() {
    _code=$(console $1 | sed -n 's/.*Attempted to kill init! exitcode=\(0x[0-9a-f]*\).*/\1/p')
    echo "status $((_code >> 8))"
}

# expect CID SECONDS PATTERN: waits until the guest has printed it.
expect() { within $2 printed $1 "$3" || complain $1 "did not print '$3' within $2 s"; }
printed() { console $1 | grep -q -e "$2"; }

# ended CID SECONDS: waits until the guest is gone.
ended() { within $2 gone $1 || complain $1 "still runs after $2 s"; }
gone() { ! kill -0 "$(cat $LAB/pid.$1)" 2>/dev/null; }

complain() {
    { echo "guest $1 $2:"; console $1; echo "the bridge:"; cat $LAB/bridge.log; } >&2
    exit 1
}

# say CID LINE: types a line at the guest's console.
say() { echo "$2" >$LAB/input.$1; }
