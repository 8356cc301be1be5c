"""Gives the samples of events/ to every function as its own process, under `cargo lambda watch`, against an AWS on this machine.

tests/cargo-lambda.sh prepares what this needs and says how it is called.
"""

import argparse
import base64
import contextlib
import functools
import hashlib
import hmac
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request

import boto3
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
REGION = "us-east-1"
STARTED_WITHIN_S, PORTS_TRIED = 30, 3
SIGNING_SECRET = "cargo-lambda-only-32-characters-x"
# What the samples name.
ACCOUNT = "acct_01a1fd45181e7010959e1f615cda3a06"
KEY = "key_01a1fd45182470109bd0c7a2f3e4d501"
ASSET = "asset_01a1fd45cc2d7f3788cdf358fd7a9527"
GENERATION = "gen_01a1fd45cc9b7f419a9d117ebc842c56"
API_KEY = "dk_" + "0" * 48


class Failed(Exception):
    """Something is not as it should be; the text says what."""


# ---- The template -----------------------------------------------------------------------------------------------------


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as `{"Ref": …}`, `{"Fn::GetAtt": …}`."""


def short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix: value}


Loader.add_multi_constructor("!", short_form)


def resources():
    """The resources of template.yaml, and of the templates nested in it."""
    found = {}
    for path in [ROOT / "template.yaml", *sorted((ROOT / "infra").glob("*.yaml"))]:
        found |= yaml.load(path.read_text(), Loader).get("Resources", {})
    return found


def of_type(kind):
    return {name: resource for name, resource in resources().items() if resource["Type"] == kind}


def functions():
    """The functions' resources by the names of their binaries."""
    found = of_type("AWS::Serverless::Function").values()
    return {function["Metadata"]["BuildProperties"]["Binary"]: function for function in found}


def environment(function, own):
    """A function's variables: from `own` what AWS makes or the deployment chooses, the rest as template.yaml says."""
    template = yaml.load((ROOT / "template.yaml").read_text(), Loader)
    declared = dict(template["Globals"]["Function"]["Environment"]["Variables"])
    declared |= function["Properties"].get("Environment", {}).get("Variables", {})
    variables = {}
    for name, value in declared.items():
        if isinstance(value, dict):
            value = template["Parameters"].get(value.get("Ref"), {}).get("Default")
        value = own.get(name, value)
        if value is None:
            raise Failed(f"it is not known what `{name}` is to be; say so in tests/cargo_lambda.py")
        variables[name] = str(value)
    return variables


def router():
    """The HTTP routes as cargo-lambda's router wants them: wildcards have another form, and a path has one line for all its methods."""
    routes = {}
    for binary, function in functions().items():
        for event in function["Properties"].get("Events", {}).values():
            if event["Type"] == "HttpApi":
                path = re.sub(r"\{(\w+)\+\}", r"{*\1}", event["Properties"]["Path"])
                routes.setdefault(path, {}).setdefault(binary, []).append(event["Properties"]["Method"].upper())
    table = {}
    for path, by_function in sorted(routes.items()):
        targets = sorted((method, name) for name, methods in by_function.items() for method in methods)
        table[path] = [{"method": method, "function": name} for method, name in targets]
    return table


def print_router():
    print("[workspace.metadata.lambda.watch.router]")
    for path, targets in router().items():
        lines = [f'{{ method = "{one["method"]}", function = "{one["function"]}" }}' for one in targets]
        print(f'"{path}" = [{", ".join(lines)}]')


def check_router():
    with open(ROOT / "Cargo.toml", "rb") as file:
        written = tomllib.load(file)["workspace"].get("metadata", {}).get("lambda", {}).get("watch", {}).get("router")
    if written != router():
        raise Failed("the router in Cargo.toml is not that of template.yaml; `tests/cargo-lambda.sh --router` prints what it has to be")


# ---- Processes --------------------------------------------------------------------------------------------------------


class Processes:
    """What was started here, and nothing else, is ended at the end."""

    def __init__(self, folder):
        self.folder = folder
        self.running = {}

    def start(self, name, command, variables):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.running[name] = process
        return process

    def end(self):
        # Last started, first ended: the functions before what they call.
        for process in reversed(self.running.values()):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.running.values()):
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def check(self):
        for name, process in self.running.items():
            if process.poll() is not None:
                raise Failed(f"`{name}` ended with {process.returncode}:\n{self.log(name)}")

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, ready, seconds, processes):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        processes.check()
        if ready():
            return
        time.sleep(0.1)
    raise Failed(f"{what} took longer than {seconds} s")


def start_on_a_port(name, processes, ready, given):
    """The port it listens on; `given` makes the command and the variables for one.

    Somebody else may take a port that was free, so that it ends by itself: then it is tried on another.
    """
    for tried in range(1, PORTS_TRIED + 1):
        port = free_port()
        process = processes.start(name, *given(port))
        try:
            until(f"the start of `{name}`", functools.partial(ready, port), STARTED_WITHIN_S, processes)
            processes.check()
        except Failed:
            if process.poll() is None or tried == PORTS_TRIED:
                raise
        else:
            return port
    raise AssertionError("the last try returns or raises")


def http(method, url, body=None, headers=None):
    """The status and the body of an answer."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


def answers(url):
    try:
        return http("GET", url)[0] < 500
    except OSError:
        return False


# ---- AWS on this machine ----------------------------------------------------------------------------------------------


def make_resources(endpoint, variables):
    """Table, bucket, queues and secret as the templates declare them. Gives the variables that name them."""

    def client(service):
        keys = {"aws_access_key_id": variables["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"]}
        return boto3.client(service, endpoint_url=endpoint, region_name=REGION, **keys)

    [table] = of_type("AWS::DynamoDB::Table").values()
    declared = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
    client("dynamodb").create_table(TableName="darkroom", **{name: table["Properties"][name] for name in declared})
    client("s3").create_bucket(Bucket="darkroom")
    sqs = client("sqs")
    urls = {}
    for name, queue in of_type("AWS::SQS::Queue").items():
        timeout = queue["Properties"].get("VisibilityTimeout", 30)
        urls[name] = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(timeout)})["QueueUrl"]
    [secret] = of_type("AWS::SecretsManager::Secret").values()
    secret = client("secretsmanager").create_secret(Name="ProviderSecrets", SecretString=secret["Properties"]["SecretString"])
    return {
        "TABLE_NAME": "darkroom",
        "BUCKET_NAME": "darkroom",
        "DISPATCH_QUEUE_URL": urls["DispatchQueue"],
        "COLLECT_QUEUE_URL": urls["CollectQueue"],
        "POLL_QUEUE_URL": urls["PollQueue"],
        "DISPATCH_DEAD_LETTERS_URL": urls["DispatchDeadLetters"],
        "COLLECT_DEAD_LETTERS_URL": urls["CollectDeadLetters"],
        "POLL_DEAD_LETTERS_URL": urls["PollDeadLetters"],
        "METRICS_NAMESPACE": "Darkroom/cargo-lambda",
        "SECRETS_ID": secret["ARN"],
        "SIGNING_SECRET": SIGNING_SECRET,
        "PUBLIC_URL": "",
        "FONTS_DIR": str(ROOT / "shared/assets/fonts"),
    }


def bootstrap(darkroom, endpoint, variables):
    """The first account, the id of its key, and the key."""
    command = [darkroom, "key", "bootstrap", "--table", "darkroom", "--endpoint-url", endpoint]
    made = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    if made.returncode != 0:
        raise Failed(f"no account could be made: {made.stderr}")
    lines = dict(line.split(maxsplit=1) for line in made.stdout.splitlines() if len(line.split()) == 2)
    return lines["account"], lines["id"], lines["key"]


# ---- The functions ----------------------------------------------------------------------------------------------------


class Samples:
    """Invokes functions with the samples, in the name of the account that is there."""

    def __init__(self, cargo_lambda, port, folder, account, key_id, key):
        self.cargo_lambda, self.port, self.folder = cargo_lambda, port, folder
        self.own = {ACCOUNT: account, KEY: key_id, API_KEY: key}
        self.invoked = set()

    def read(self, name, replace=None):
        text = (ROOT / f"events/{name}.json").read_text()
        for sample, ours in {**self.own, **(replace or {})}.items():
            text = text.replace(sample, ours)
        return json.loads(text)

    def invoke(self, function, event):
        """What the function answers. An error of its handler is a failure."""
        self.invoked.add(function)
        path = self.folder / f"{function}.json"
        path.write_text(json.dumps(event))
        command = [self.cargo_lambda, "lambda", "invoke", function, "--data-file", str(path)]
        command += ["--invoke-address", "127.0.0.1", "--invoke-port", str(self.port)]
        made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=self.patience, check=False)
        if made.returncode != 0:
            raise Failed(f"`{function}` failed: {made.stdout}{made.stderr}")
        return json.loads(made.stdout or "null")

    # The first invocation may have to build the function.
    patience = 900

    def http(self, function, name, expected, replace=None):
        """The body of an HTTP function's answer, which has the expected status."""
        return self.http_event(function, self.read(name, replace), expected, name)

    def http_event(self, function, event, expected, name):
        answer = self.invoke(function, event)
        if answer["statusCode"] != expected:
            raise Failed(f"`{function}` answered {name} with {answer['statusCode']} instead of {expected}: {answer.get('body')}")
        print(f"  {function}: {name}: {expected}")
        return json.loads(answer.get("body") or "null")

    def batch(self, function, name, replace=None):
        """A batch in which nothing fails."""
        answer = self.invoke(function, self.read(name, replace))
        expect(f"`{function}`'s answer to {name}", answer, {"batchItemFailures": []})
        print(f"  {function}: {name}: nothing failed")


def expect(what, found, wanted):
    if found != wanted:
        raise Failed(f"{what} is {found!r} instead of {wanted!r}")


def give_credits(samples, account):
    """There is no sample of this route: the one of another is turned into it."""
    event = samples.read("admin-put-model")
    path = f"/v1/admin/accounts/{account}/credits"
    event |= {"rawPath": path, "pathParameters": {"account": account}, "body": json.dumps({"amount": 1000, "reason": "a try"})}
    event["requestContext"]["http"] |= {"method": "POST", "path": path}
    event["headers"]["idempotency-key"] = "credits-1"
    samples.http_event("admin", event, 201, "credits for the account")


def try_functions(samples, account, endpoint):
    verdict = samples.invoke("authorize", samples.read("authorize"))
    expect("the verdict on the key", (verdict["isAuthorized"], verdict["context"]["account"]), (True, account))
    print("  authorize: authorize: the key is known")
    samples.http("admin", "admin-put-model", 200)
    give_credits(samples, account)

    upload = samples.http("presign", "presign-create", 201)
    photo = (ROOT / "events/media/photo.jpg").read_bytes()
    expect("the status of the upload", http("PUT", upload["url"], photo, {"Content-Type": "image/jpeg"})[0], 200)
    asset = samples.http("presign", "presign-complete", 200, {ASSET: upload["id"]})
    expect("the asset", asset["status"], "ready")
    box = samples.http("organize", "organize-create", 201)
    expect("the box", box["name"], "Lighthouses")

    quote = samples.http("generate", "generate-quote", 200)
    expect("the price", quote["credits"], 5)
    made = samples.http("generate", "generate-create", 202)["id"]
    samples.batch("dispatch", "dispatch", {GENERATION: made})
    samples.batch("collect", "collect", {GENERATION: made})
    generation = samples.http("query", "query-generation", 200, {GENERATION: made})
    expect("the generation", generation["phase"], "succeeded")
    expect("the result's first bytes", http("GET", generation["results"][0]["url"])[1][:4], b"\x89PNG")
    ledger = samples.http("query", "query-ledger", 200)
    expect("the ledger", [entry["kind"] for entry in ledger["entries"]], ["charge", "hold", "grant"])

    samples.batch("poll", "poll-nudge", {GENERATION: made})
    samples.batch("poll", "poll-sweep")
    samples.batch("poll", "poll-tick")

    canceled = samples.http("generate", "generate-create", 202, {"order-1001": "order-1002"})["id"]
    samples.http("generate", "generate-cancel", 200, {GENERATION: canceled})
    samples.http("callback", "callback-replicate", 404)
    taken = samples.http("callback", "callback-replicate", 200, own_token(samples, canceled))
    expect("what a callback of no attempt does", taken, {"changed": False})
    erased = samples.invoke("erase", samples.read("erase-generation", {GENERATION: canceled}))
    expect("the status of the erasure", erased["statusCode"], 204)
    print("  erase: erase-generation: 204")
    missing = set(functions()) - samples.invoked
    if missing:
        raise Failed(f"nobody tries `{'`, `'.join(sorted(missing))}`")


def own_token(samples, generation):
    """The sample's token was made with another secret."""
    tag = hmac.digest(SIGNING_SECRET.encode(), f"callback/replicate/{generation}/1".encode(), hashlib.sha256)
    sample = samples.read("callback-replicate")["pathParameters"]["token"]
    return {GENERATION: generation, sample: "1-" + base64.urlsafe_b64encode(tag[:24]).decode()}


def try_routes(port):
    """Requests over HTTP find their function. They come without an authorizer's word, so that most are refused."""
    base = f"http://127.0.0.1:{port}"
    tries = [
        ("GET", "/v1/models", 401),
        ("GET", f"/v1/generations/{GENERATION}", 401),
        ("POST", "/v1/generations", 401),
        ("GET", "/v1/admin/models/placeholder/poster", 401),
        ("POST", f"/v1/callbacks/replicate/{GENERATION}/1-no-token", 404),
    ]
    for method, path, expected in tries:
        status, body = http(method, base + path, b"{}" if method == "POST" else None, {"Content-Type": "application/json"})
        if status != expected or b'"status"' not in body:
            raise Failed(f"{method} {path} was answered with {status} instead of a function's {expected}: {body[:500]!r}")
        print(f"  {method} {path}: {expected}")


def run(arguments, folder, processes):
    check_router()
    started = time.monotonic()
    variables = {name: os.environ[name] for name in ("PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR") if name in os.environ}
    variables |= {"AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local-run-only"}
    own = {"BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1"}
    aws_port = start_on_a_port(
        "ministack", processes, lambda port: answers(f"http://127.0.0.1:{port}/_ministack/health"),
        lambda port: ([arguments.ministack], variables | own | {"GATEWAY_PORT": str(port)}),
    )
    endpoint = f"http://127.0.0.1:{aws_port}"
    made = make_resources(endpoint, variables)
    account, key_id, key = bootstrap(arguments.binaries / "darkroom", endpoint, variables)
    variables |= {"AWS_ENDPOINT_URL": endpoint}

    watch = [arguments.cargo_lambda, "lambda", "watch", "--ignore-changes", "--invoke-address", "127.0.0.1", "--invoke-port"]
    if arguments.build:
        options, watched = [], {name: value for function in functions().values() for name, value in environment(function, made).items()}
    else:
        options, watched = ["--only-lambda-apis"], {}
    port = start_on_a_port("watch", processes, connects, lambda port: ([*watch, str(port), *options], variables | watched))
    if not arguments.build:
        for name, function in functions().items():
            lambda_variables = {
                "AWS_LAMBDA_RUNTIME_API": f"http://127.0.0.1:{port}/.rt/{name}",
                "AWS_LAMBDA_FUNCTION_NAME": name,
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
                "AWS_LAMBDA_FUNCTION_VERSION": "1",
            }
            processes.start(name, [arguments.binaries / name], variables | environment(function, made) | lambda_variables)
    samples = Samples(arguments.cargo_lambda, port, folder, account, key_id, key)
    samples.patience = 900 if arguments.build else 30
    print(f"everything has started (after {time.monotonic() - started:.1f} s)")
    try_functions(samples, account, endpoint)
    try_routes(port)
    print(f"every function answered as expected (after {time.monotonic() - started:.1f} s)")


def connects(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--router", action="store_true", help="print the router for Cargo.toml, and do nothing else")
    parser.add_argument("--build", action="store_true", help="let `cargo lambda watch` build and start the functions")
    parser.add_argument("--cargo-lambda")
    parser.add_argument("--ministack")
    parser.add_argument("--binaries", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.router:
        print_router()
        return
    signal.signal(signal.SIGTERM, leave)
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(pathlib.Path(folder))
        try:
            run(arguments, processes.folder, processes)
        except (Failed, subprocess.TimeoutExpired, KeyError) as error:
            print(f"FAILED: {error!r}" if isinstance(error, KeyError) else f"FAILED: {error}", file=sys.stderr)
            for name in processes.running:
                if processes.log(name):
                    print(f"---- the end of {name}'s log\n{processes.log(name)}", file=sys.stderr)
            sys.exit(1)
        finally:
            processes.end()


def leave(*_):
    """Not at once, as it would be without this: what was started is ended first, and that is not interrupted."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


main()
