#!/bin/sh
# Makes ca.pem, and tls.pem with tls.key for AWS's names in us-east-1, in the current directory.
set -eu
key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
openssl req -x509 $key -days 30 -subj '/CN=The test CA' -keyout ca.key -out ca.pem \
    -addext keyUsage=critical,keyCertSign,cRLSign
openssl req $key -subj '/CN=us-east-1.amazonaws.com' -keyout tls.key -out tls.csr
cat > tls.ext <<EXTENSIONS
basicConstraints = CA:FALSE
subjectAltName = DNS:*.us-east-1.amazonaws.com, DNS:*.s3.us-east-1.amazonaws.com
EXTENSIONS
openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
    -extfile tls.ext -out tls.pem
