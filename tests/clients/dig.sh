#!/bin/sh
# dig, as `dig.sh SERVER VERSION WORD…`: A and AAAA of a name, PTR of an address. VERSION is that of
# a program that is asked in the stub's place, or empty.
server=$1
echo "$(dig -v 2>&1)${2:+, $2}"
shift 2
for word; do
    case $word in
    *[!0-9.]*) questions="$word A $word AAAA" ;;
    *) questions="-x $word" ;;
    esac
    # shellcheck disable=SC2086
    dig "@$server" +tries=1 +time=5 $questions | awk '
        /status:/ { sub(/,$/, "", $6); status = $6 }
        /^[^;]/ && ($4 == "A" || $4 == "AAAA") { found = found $5 " " }
        /^[^;]/ && $4 == "PTR" { sub(/\.$/, "", $5); found = found $5 }
        END { print found ? found : status == "NOERROR" ? "NODATA" : status ? status : "no answer" }'
done
