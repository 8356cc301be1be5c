"""Creates the whole stack in an emulator on this machine, twice, and looks at what came of it: `emulate.py <ministack> <sam>`.

The way is that of a deploy: `sam package` uploads the nested templates and the code, the transform is applied, the stack is created, once with
the defaults and once with everything that can be switched on. The emulator believes much: docs/deploying.md says what it leaves out.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import boto3
from samtranslator.yaml_helper import yaml_parse
from transformed import transformed

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGION, ACCOUNT = "us-east-1", "000000000000"
# Generous: `.ci/run` builds beside this.
STARTED_WITHIN_S, CREATED_WITHIN_S, PORTS_TRIED = 60, 120, 3
# What is taken from the environment: no profile, no endpoint and no proxy of whoever runs this.
KEPT = ("PATH", "TMPDIR", "LANG", "PYTHONPYCACHEPREFIX", "PYTHONWARNINGS")
EVERYTHING = {
    "CustomerManagedKey": "true",
    "DeletionProtection": "true",
    "BucketVersioning": "Enabled",
    "DomainName": "api.example.com",
    "CertificateArn": f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/0",
    "AlarmEmail": "operator@example.com",
}


class Emulator:
    """AWS as far as it goes here, in a process of its own."""

    def __init__(self, program, folder):
        self.folder = folder
        self.log = folder / "emulator.log"
        # Somebody else may take a port that was free, so that it ends by itself: then it is tried on another.
        for _ in range(PORTS_TRIED):
            self.start(program)
            if self.process.poll() is None:
                break
        else:
            sys.exit(f"the emulator does not start:\n{self.log.read_text()}")
        self.session = boto3.Session(aws_access_key_id=ACCOUNT, aws_secret_access_key="none", region_name=REGION)

    def start(self, program):
        """Until it answers, or has ended."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.environment = os.environ | {
            "AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "none", "AWS_ENDPOINT_URL": self.url,
            "SAM_CLI_TELEMETRY": "0", "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([program], cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        until = time.monotonic() + STARTED_WITHIN_S
        try:
            while self.process.poll() is None and not self.answers():
                if time.monotonic() > until:
                    sys.exit(f"the emulator does not answer:\n{self.log.read_text()}")
                time.sleep(0.1)
        except SystemExit:
            self.stop()
            raise

    def answers(self):
        try:
            urllib.request.urlopen(self.url, timeout=1).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def client(self, service):
        return self.session.client(service, endpoint_url=self.url)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def packaged(emulator, sam, folder):
    """The template after `sam package` and the transform, its nested templates where the emulator finds them."""
    (folder / "code").mkdir()
    (folder / "code" / "bootstrap").write_text("#!/bin/sh\n")
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    assert template.count("CodeUri: .\n") == 1
    (folder / "template.yaml").write_text(template.replace("CodeUri: .\n", "CodeUri: code\n"), encoding="utf-8")
    shutil.copytree(ROOT / "infra", folder / "infra")
    shutil.copytree(ROOT / "shared/assets/fonts", folder / "shared/assets/fonts")
    without_metric_math(folder / "infra" / "monitoring.yaml")
    emulator.client("s3").create_bucket(Bucket="packages")
    command = [sam, "package", "--s3-bucket", "packages", "--output-template-file", "packaged.yaml"]
    subprocess.run(command, cwd=folder, env=emulator.environment, check=True, capture_output=True)
    text = (folder / "packaged.yaml").read_text(encoding="utf-8")
    code = yaml_parse(text)["Resources"]["QueryFunction"]["Properties"].get("CodeUri") or yaml_parse(text)["Globals"]["Function"]["CodeUri"]
    return transformed(text, code)


def without_metric_math(path):
    """Leaves out alarms on several metrics, which the emulator refuses."""
    resources = re.split(r"(?m)^(?=  \w+:\n    Type: )", path.read_text(encoding="utf-8"))
    path.write_text("".join(resource for resource in resources if "      Metrics:\n" not in resource), encoding="utf-8")


def create(emulator, name, template, parameters):
    cloudformation = emulator.client("cloudformation")
    emulator.client("s3").put_object(Bucket="packages", Key=f"{name}.json", Body=json.dumps(template).encode())
    given = {"SigningSecret": "x" * 32} | parameters
    cloudformation.create_stack(
        StackName=name,
        TemplateURL=f"{emulator.url}/packages/{name}.json",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )
    until = time.monotonic() + CREATED_WITHIN_S
    while True:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS") or time.monotonic() > until:
            break
        time.sleep(0.2)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise SystemExit(f"{name}: {stack['StackStatus']}\n" + "".join(emulator.log.read_text().splitlines(keepends=True)[-10:]))
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def same(what, found, expected):
    if found != expected:
        raise SystemExit(f"{what} is {found!r} in the emulator, and should be {expected!r}")


def look_at_data(emulator, outputs, everything):
    table = emulator.client("dynamodb").describe_table(TableName=outputs["TableName"])["Table"]
    keys = {index["IndexName"]: index["KeySchema"] for index in [table | {"IndexName": "table"}, *table["GlobalSecondaryIndexes"]]}
    keys = {name: [element["AttributeName"] for element in schema] for name, schema in keys.items()}
    same("the table's keys", keys, {"table": ["pk", "sk"], "by_account": ["gsi_pk", "gsi_sk"], "due": ["due_shard", "due_at"]})
    same("the table's protection", str(table["DeletionProtectionEnabled"]).lower(), str(everything).lower())
    s3, bucket = emulator.client("s3"), outputs["BucketName"]
    same("the bucket's versioning", s3.get_bucket_versioning(Bucket=bucket).get("Status"), "Enabled" if everything else None)
    same("the bucket's CORS methods", s3.get_bucket_cors(Bucket=bucket)["CORSRules"][0]["AllowedMethods"], ["GET", "HEAD", "PUT"])
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]
    arn = f"arn:aws:s3:::{bucket}"
    same("what the bucket's policy is about", (policy["Effect"], policy["Resource"]), ("Deny", [arn, f"{arn}/*"]))
    secrets = emulator.client("secretsmanager")
    same("the secret", secrets.get_secret_value(SecretId=outputs["ProviderSecretsId"])["SecretString"], "{}")
    key = secrets.describe_secret(SecretId=outputs["ProviderSecretsId"]).get("KmsKeyId")
    same("whether a key of its own encrypts the secret", bool(key), everything)


def attributes(emulator, url):
    return emulator.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def look_at_queues(emulator, name, outputs, everything):
    found = {}
    for queue, visibility in [("Dispatch", "3600"), ("Poll", "360"), ("Collect", "1800")]:
        url = emulator.client("sqs").get_queue_url(QueueName=f"{name}-{queue.lower()}")["QueueUrl"]
        main, dead = attributes(emulator, url), attributes(emulator, outputs[f"{queue}DeadLettersUrl"])
        same(f"the visibility of {queue}", main["VisibilityTimeout"], visibility)
        redrive = json.loads(main["RedrivePolicy"])
        same(f"where {queue} gives up", (redrive["deadLetterTargetArn"], int(redrive["maxReceiveCount"])), (dead["QueueArn"], 5))
        allowed = json.loads(dead["RedriveAllowPolicy"])
        same(f"whose dead letters {queue} has", allowed, {"redrivePermission": "byQueue", "sourceQueueArns": [main["QueueArn"]]})
        for each in [main, dead]:
            same(f"whether a key of its own encrypts {queue}", bool(each.get("KmsMasterKeyId")), everything)
        found[f"{queue.upper()}_QUEUE_URL"] = main["QueueArn"]
        found[f"{queue.upper()}_DEAD_LETTERS_URL"] = dead["QueueArn"]
    return found


def look_at_functions(emulator, name, template, outputs, queues, everything):
    aws = emulator.client("lambda")
    all_functions = [each for page in aws.get_paginator("list_functions").paginate() for each in page["Functions"]]
    functions = {each["FunctionName"].split("-")[-2]: each for each in all_functions if each["FunctionName"].startswith(f"{name}-")}
    declared = {key for key, resource in template["Resources"].items() if resource["Type"] == "AWS::Lambda::Function"}
    same("the functions", set(functions), declared)
    for logical_id, function in functions.items():
        variables = function["Environment"]["Variables"]
        same(f"the table of {logical_id}", variables["TABLE_NAME"], outputs["TableName"])
        same(f"the bucket of {logical_id}", variables["BUCKET_NAME"], outputs["BucketName"])
        same(f"the namespace of {logical_id}", variables["METRICS_NAMESPACE"], f"Darkroom/{name}")
        same(f"the tracing of {logical_id}", function["TracingConfig"]["Mode"], "Active")
        for variable in variables.keys() & queues.keys():
            same(f"{variable} of {logical_id}", attributes(emulator, variables[variable])["QueueArn"], queues[variable])
    same("the dead letters of AdminFunction", len(functions["AdminFunction"]["Environment"]["Variables"].keys() & queues.keys()), 6)
    url = functions["DispatchFunction"]["Environment"]["Variables"]["PUBLIC_URL"]
    same("PUBLIC_URL", url, "https://api.example.com" if everything else outputs["ApiUrl"])
    mappings = {
        mapping["EventSourceArn"]: (mapping["FunctionArn"].split("-")[-2], mapping["FunctionResponseTypes"])
        for mapping in aws.list_event_source_mappings()["EventSourceMappings"]
        if mapping["FunctionArn"].split(":")[-1].startswith(f"{name}-")
    }
    readers = {queues[f"{each.upper()}_QUEUE_URL"]: (f"{each}Function", ["ReportBatchItemFailures"]) for each in ["Dispatch", "Poll", "Collect"]}
    same("who reads the queues", mappings, readers)
    events = emulator.client("events")
    rules = [rule for rule in events.list_rules()["Rules"] if rule["Name"].startswith(f"{name}-")]
    same("the schedules", sorted(rule["ScheduleExpression"] for rule in rules), ["rate(1 day)", "rate(1 minute)"])
    targets = {target["Arn"] for rule in rules for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]}
    same("what the schedules call", targets, {functions["PollFunction"]["FunctionArn"]})


def look_at_monitoring(emulator, name, folder, everything):
    template = yaml_parse((folder / "infra" / "monitoring.yaml").read_text(encoding="utf-8"))
    declared = sum(resource["Type"] == "AWS::CloudWatch::Alarm" for resource in template["Resources"].values())
    alarms = emulator.client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{name}-")["MetricAlarms"]
    same("the number of alarms", len(alarms), declared)
    topics = [each["TopicArn"] for each in emulator.client("sns").list_subscriptions()["Subscriptions"] if name in each["TopicArn"]]
    same("the number of subscriptions", len(topics), int(everything))
    for alarm in alarms:
        same(f"who is told of {alarm['AlarmName']}", alarm["AlarmActions"], topics)
    dashboard = json.loads(emulator.client("cloudwatch").get_dashboard(DashboardName=name)["DashboardBody"])
    same("whether the dashboard has names left to fill in", "${" in json.dumps(dashboard), False)


def main(program, sam):
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        os.environ.clear()
        os.environ.update(kept | {"HOME": scratch, "AWS_DEFAULT_REGION": REGION})
        emulator = Emulator(program, folder)
        try:
            template = packaged(emulator, sam, folder)
            zone = emulator.client("route53").create_hosted_zone(Name="example.com", CallerReference="once")["HostedZone"]["Id"]
            on = EVERYTHING | {"HostedZoneId": zone.rsplit("/", 1)[1]}
            for name, parameters in [("plain", {}), ("everything", on)]:
                outputs = create(emulator, name, template, parameters)
                look_at_data(emulator, outputs, bool(parameters))
                queues = look_at_queues(emulator, name, outputs, bool(parameters))
                look_at_functions(emulator, name, template, outputs, queues, bool(parameters))
                look_at_monitoring(emulator, name, folder, bool(parameters))
                print(f"the emulator has created the stack `{name}`, and what came of it is right")
        finally:
            emulator.stop()


def leave(*_):
    """Not at once, as it would be without this: what was started is ended first, and that is not interrupted."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


signal.signal(signal.SIGTERM, leave)
main(*map(os.path.abspath, sys.argv[1:]))
