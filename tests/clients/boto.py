"""A program on boto3: the addresses at which its service clients try to connect.

A name that is no service's is the endpoint of a client for EC2. boto3 cannot ask for an address's name.
"""

import os
import socket
import sys

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

REGION = "us-east-1"
ERRORS = {
    f"[Errno {socket.EAI_NONAME}]": "NXDOMAIN",
    f"[Errno {socket.EAI_NODATA}]": "NODATA",
}
# A request that each service takes without arguments; only the connection counts.
OPERATIONS = {
    "autoscaling": "describe_auto_scaling_groups",
    "ec2": "describe_regions",
    "logs": "describe_log_groups",
    "sns": "list_topics",
    "sqs": "list_queues",
    "ssm": "list_documents",
    "xray": "get_groups",
}

tried = []
sys.addaudithook(lambda event, values: event == "socket.connect" and tried.append(values[1][0]))


def lookup(name):
    service, _, domain = name.partition(".")
    if domain == f"{REGION}.amazonaws.com" and service in OPERATIONS:
        endpoint = None
    else:
        service, endpoint = "ec2", f"https://{name}"
    client = boto3.client(
        service,
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}),
    )
    if client.meta.endpoint_url != f"https://{name}":
        return f"asks {client.meta.endpoint_url}"
    tried.clear()
    try:
        getattr(client, OPERATIONS[service])()
    except EndpointConnectionError as error:
        cause = str(error.kwargs["error"])
        failed = [said for errno, said in ERRORS.items() if errno in cause]
        return " ".join(tried or failed) or cause
    return "connected"


os.environ["NO_PROXY"] = "*"
print(f"boto3 {boto3.__version__}, botocore {botocore.__version__}")
for word in sys.argv[1:]:
    print(lookup(word))
