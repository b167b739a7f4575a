"""What a server in an enclave does with AWS: the real SDK, told nothing of proxies or addresses.

Prints a line for each service. The first argument is the certificate authority's file.
"""

import sys

import boto3
import requests

REGION = "us-east-1"
authority = sys.argv[1]
session = boto3.Session("testing", "testing", region_name=REGION)


def client(service):
    return session.client(service, verify=authority)


s3 = client("s3")
s3.create_bucket(Bucket="kv-data")
body = bytes(range(256)) * 40_000
s3.put_object(Bucket="kv-data", Key="delta", Body=body)
same = s3.get_object(Bucket="kv-data", Key="delta")["Body"].read() == body
print("s3", s3.list_objects_v2(Bucket="kv-data")["Contents"][0]["Size"], same)

sns, sqs = client("sns"), client("sqs")
topic = sns.create_topic(Name="updates")["TopicArn"]
queue = sqs.create_queue(QueueName="updates")["QueueUrl"]
arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
sns.subscribe(
    TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
)
sns.publish(TopicArn=topic, Message="delta is there")
print("sqs", sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"])

ssm = client("ssm")
ssm.put_parameter(Name="/kv/shards", Value="3", Type="String")
print("ssm", ssm.get_parameter(Name="/kv/shards")["Parameter"]["Value"])

ec2 = client("ec2")
vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
print("ec2", ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlock"])

print("requests", requests.get("https://ec2.us-east-1.amazonaws.com/", verify=authority).status_code)
