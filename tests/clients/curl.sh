#!/bin/sh
# curl, as `curl.sh CURL NAME…`: the addresses that it tries before it runs out of them or of time,
# of which it takes up to a second for each. It cannot ask for an address's name.
curl=$1
shift
"$curl" --version | sed -n 's/^curl \([^ ]*\) .*\(libcurl.*\)/curl \1, \2/p'
for name; do
    said=$("$curl" --silent --verbose --noproxy '*' --max-time 5 "http://$name/" 2>&1)
    case $? in
    6) echo NOTHING ;; # It has one error for a name and for a type that does not exist.
    7 | 28)
        echo "$said" | sed -n 's/^\*  *Trying \[\{0,1\}\([0-9a-f.:]*[0-9a-f]\)\]\{0,1\}:80\.\.\.$/\1/p' | tr '\n' ' '
        echo
        ;;
    *) echo "$said" ;;
    esac
done
