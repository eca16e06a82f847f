//! boto3, which this project did not write, as the judge of the embedded server.

use super::served::{Served, reader, serve};
use crate::support;
use templar::bucket::Store;

const SCRIPT: &str = r#"
import os, sys, boto3, botocore
from botocore.config import Config
from botocore.exceptions import ClientError

def client(kind):
    return boto3.client("s3", endpoint_url=os.environ["ENDPOINT"], region_name="auto",
        aws_access_key_id=os.environ[kind + "_ID"], aws_secret_access_key=os.environ[kind + "_SECRET"],
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))

def denied(call, code):
    try:
        call()
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e.response["Error"]
    else:
        raise AssertionError("it was allowed")

bucket, other = os.environ["BUCKET"], os.environ["OTHER"]
write, read = client("WRITE"), client("READ")
body = os.urandom(300_000)
put = write.put_object(Bucket=bucket, Key="from/python", Body=body)
head = read.head_object(Bucket=bucket, Key="from/python")
assert head["ContentLength"] == len(body) and head["ETag"] == put["ETag"], head
assert head["LastModified"].microsecond == 0
got = read.get_object(Bucket=bucket, Key="from/python")
assert got["Body"].read() == body and got["LastModified"] == head["LastModified"]
assert read.get_object(Bucket=bucket, Key="from/python", Range="bytes=10-19")["Body"].read() == body[10:20]
write.put_object(Bucket=bucket, Key="from/again", Body=b"")
listed = [o["Key"] for o in read.list_objects_v2(Bucket=bucket, Prefix="from/")["Contents"]]
assert listed == ["from/again", "from/python"], listed
denied(lambda: read.put_object(Bucket=bucket, Key="x", Body=b""), "AccessDenied")
denied(lambda: read.delete_object(Bucket=bucket, Key="from/python"), "AccessDenied")
denied(lambda: read.get_object(Bucket=other, Key="secret"), "AccessDenied")
denied(lambda: write.put_object(Bucket=other, Key="x", Body=b""), "AccessDenied")
denied(lambda: write.copy_object(Bucket=bucket, Key="stolen", CopySource={"Bucket": other, "Key": "secret"}), "AccessDenied")
denied(lambda: write.list_buckets(), "AccessDenied")
denied(lambda: write.delete_bucket(Bucket=bucket), "AccessDenied")
denied(lambda: write.create_bucket(Bucket="another-bucket"), "AccessDenied")
# Paths into the neighbour's folder. botocore does not normalise keys.
for key in ["../%s/secret" % other, "x/../../%s/secret" % other]:
    denied(lambda: write.get_object(Bucket=bucket, Key=key), "InvalidArgument")
    denied(lambda: write.put_object(Bucket=bucket, Key=key, Body=b""), "InvalidArgument")
    denied(lambda: write.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]}), "InvalidArgument")
denied(lambda: read.get_object(Bucket=bucket, Key="absent"), "NoSuchKey")
denied(lambda: read.get_object(Bucket=bucket, Key="from"), "NoSuchKey")
unsigned = boto3.client("s3", endpoint_url=os.environ["ENDPOINT"], region_name="auto",
    config=Config(signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"}))
denied(lambda: unsigned.get_object(Bucket=bucket, Key="from/python"), "AccessDenied")
write.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "from/again"}]})
print("done", len(body))
"#;

#[tokio::test]
async fn boto3_sees_an_s3_with_closed_doors() {
    let served = serve(2).await;
    super::served::writer(&served, 1).put("secret", "other's".into()).await.unwrap();
    let python = tokio::task::spawn_blocking(|| support::python("boto3", &["boto3"])).await.unwrap();
    let keys = &served.buckets[0];
    let output = tokio::process::Command::new(python.trim())
        .args(["-c", SCRIPT])
        .env("ENDPOINT", served.endpoint.to_string())
        .env("BUCKET", keys.write.account_id())
        .env("OTHER", served.buckets[1].write.account_id())
        .envs([("READ_ID", keys.read.access_key_id()), ("READ_SECRET", keys.read.secret())])
        .envs([("WRITE_ID", keys.write.access_key_id()), ("WRITE_SECRET", keys.write.secret())])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), "done 300000");
    // What Python wrote, this program reads.
    assert_eq!(reader(&served, 0).get("from/python", 300_000).await.unwrap().bytes.len(), 300_000);
    assert_eq!(reader(&served, 0).list("", 10).await.unwrap(), ["from/python"]);
    let Served { handle, dir, .. } = served;
    handle.stop().await;
    drop(dir);
}
