#!/bin/sh
# dig.sh, once something answers at SERVER; as `behind.sh SERVER VERSION WORD…`.
for _ in $(seq 100); do
    if dig "@$1" +time=1 +tries=1 localhost >/dev/null 2>&1; then
        exec "$(dirname "$0")/dig.sh" "$@"
    fi
    sleep 0.1
done
echo "nothing answers at $1" >&2
exit 1
