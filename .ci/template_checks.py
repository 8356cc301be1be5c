"""What linters miss in template.yaml and infra/: limits of AWS between two resources, rights, routes, and what is kept. One line for each mistake;
`template_checks.py [folder]`.
"""

import functools
import json
import pathlib
import re
import sys
import tomllib

from alarm_checks import check_alarms
from samtranslator.yaml_helper import yaml_parse
from transformed import transformed

ROOT = pathlib.Path(__file__).resolve().parent.parent
HTTP_LIMIT_S = 29
# <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>: the resource-based policy of a function.
LARGEST_POLICY_BYTES = 20_480
# What SAM attaches by itself, and what it is for.
ADDED_BY_SAM = {"AWSLambdaBasicExecutionRole": "logs", "AWSXrayWriteOnlyAccess": "traces", "AWSLambdaSQSQueueExecutionRole": "queues"}
RECEIVE = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
REDRIVE = ["sqs:StartMessageMoveTask", *RECEIVE]
# A path below it needs no key: its token and the provider's signature are checked by the function.
OPEN = "/v1/callbacks/"
RATE = re.compile(r"rate\((1 (minute|hour|day)|([2-9]|[1-9]\d+) (minutes|hours|days))\)")


class Project:
    """The files of a folder, read once."""

    def __init__(self, root):
        self.root = root
        text = (root / "template.yaml").read_text(encoding="utf-8")
        self.template = parsed(text)
        self.nested = {path.stem: parsed(path.read_text(encoding="utf-8")) for path in sorted((root / "infra").glob("*.yaml"))}
        self.transformed = deployed(text)
        self.resources = self.transformed["Resources"]

    def of_type(self, kind):
        return {name: each for name, each in self.resources.items() if each["Type"] == kind}

    def functions(self):
        return {name: each["Properties"] for name, each in self.of_type("AWS::Lambda::Function").items()}

    def queues(self):
        return {name: each.get("Properties", {}) for name, each in self.of_type("AWS::SQS::Queue").items()}

    def statements(self, function):
        """What the function's own policies allow and deny."""
        declared = self.template["Resources"][function]["Properties"].get("Policies", [])
        return [each for policy in declared if isinstance(policy, dict) for each in policy.get("Statement", [])]

    def may(self, function, action, queue):
        """Whether the function's own policies let it do something with a queue."""
        arn = {"Fn::GetAtt": [queue, "Arn"]}
        return any(
            each["Effect"] == "Allow" and action in listed(each["Action"]) and arn in listed(each["Resource"])
            for each in self.statements(function)
        )


# Seeded mistakes change one file and leave the others: none is read twice.
parsed = functools.cache(yaml_parse)
deployed = functools.cache(transformed)


def listed(value):
    return value if isinstance(value, list) else [value]


def name_in(reference):
    """The logical id in `!Ref X`, `!GetAtt X.Arn` or an ARN made with `!Sub`."""
    if not isinstance(reference, dict):
        return None
    if "Ref" in reference:
        return reference["Ref"]
    if "Fn::GetAtt" in reference:
        return listed(reference["Fn::GetAtt"])[0].split(".")[0]
    found = re.search(r"\$\{([A-Za-z0-9]+)\.Arn\}", json.dumps(reference))
    return found.group(1) if found else None


def walk(node, conditions=()):
    """Each value with what has to be true for it to count."""
    yield node, conditions
    if isinstance(node, list):
        for each in node:
            yield from walk(each, conditions)
    elif isinstance(node, dict):
        if isinstance(node.get("Condition"), str) and "Type" in node:
            conditions = (*conditions, node["Condition"])
        for key, each in node.items():
            if key == "Fn::If":
                yield each, conditions
                yield from walk(each[1], (*conditions, each[0]))
                yield from walk(each[2], conditions)
            else:
                yield from walk(each, conditions)


def check_queues(project):
    queues, functions = project.queues(), project.functions()
    mappings = [each["Properties"] for each in project.of_type("AWS::Lambda::EventSourceMapping").values()]
    for mapping in mappings:
        queue, function = name_in(mapping["EventSourceArn"]), name_in(mapping["FunctionName"])
        if queue not in queues:
            yield f"{function} reads `{queue}`, which is not a queue"
            continue
        visibility, timeout = queues[queue].get("VisibilityTimeout", 30), functions[function]["Timeout"]
        if visibility < 6 * timeout:
            yield f"{queue} shows a message again after {visibility} s: {function} runs up to {timeout} s, and six times that is needed"
        if "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", []):
            yield f"{function} does not say which messages of {queue} failed: add ReportBatchItemFailures"
        if "RedrivePolicy" not in queues[queue]:
            yield f"{queue} has no dead letters: add a RedrivePolicy"
        attached = json.dumps(project.resources[f"{function}Role"]["Properties"])
        if "AWSLambdaSQSQueueExecutionRole" not in attached and not all(project.may(function, action, queue) for action in RECEIVE):
            yield f"{function} may not receive from {queue}"
    read = {name_in(mapping["EventSourceArn"]) for mapping in mappings}
    sources = {name_in(each["RedrivePolicy"]["deadLetterTargetArn"]): name for name, each in queues.items() if "RedrivePolicy" in each}
    for name, queue in queues.items():
        if name in sources:
            yield from check_dead_letters(name, queue, sources[name], queues[sources[name]])
        elif name not in read:
            yield f"nobody reads {name}, and it is nobody's dead letters"


def check_dead_letters(name, queue, source, source_queue):
    allowed = queue.get("RedriveAllowPolicy", {})
    named = source_queue.get("QueueName", {}).get("Fn::Sub", "no name")
    arns = [arn.get("Fn::Sub", "") for arn in allowed.get("sourceQueueArns", [])]
    if allowed.get("redrivePermission") != "byQueue" or not all(arn.endswith(f":{named}") for arn in arns):
        yield f"{name} does not say that it takes the dead letters of {source} alone"
    if queue.get("MessageRetentionPeriod", 345600) <= source_queue.get("MessageRetentionPeriod", 345600):
        yield f"{name} forgets before {source} does: a dead letter keeps its first date"


def check_functions(project):
    behind_the_api = {
        name_in(each["Properties"]["FunctionName"])
        for each in project.of_type("AWS::Lambda::Permission").values()
        if each["Properties"]["Principal"] == "apigateway.amazonaws.com"
    }
    for name, function in project.functions().items():
        if name in behind_the_api and function["Timeout"] > HTTP_LIMIT_S:
            yield f"{name} runs up to {function['Timeout']} s: the API answers 503 after 30 s, so {HTTP_LIMIT_S} s are the most"
        if not project.statements(name):
            yield f"{name} has no policies of its own"
        for arn in project.resources[f"{name}Role"]["Properties"].get("ManagedPolicyArns", []):
            if isinstance(arn, str) and arn.rsplit("/", 1)[1] not in ADDED_BY_SAM:
                yield f"{name} has AWS's policy `{arn}`: write out what it needs"
        variables = function["Environment"]["Variables"]
        yield from check_redrive(project, name, variables)
        for variable, action in [("SECRETS_ID", "secretsmanager:GetSecretValue")]:
            if variable in variables and action not in [each for one in project.statements(name) for each in listed(one["Action"])]:
                yield f"{name} is told {variable}, and may not {action}"
        if ("FONTS_DIR" in variables) != ("Layers" in function):
            yield f"{name} draws with what is in a layer: it needs both `Layers` and FONTS_DIR"


def check_redrive(project, function, variables):
    for variable, value in variables.items():
        if not variable.endswith("_DEAD_LETTERS_URL"):
            continue
        dead, source = name_in(value), variable.removesuffix("_DEAD_LETTERS_URL").capitalize() + "Queue"
        if dead not in project.queues() or source not in project.queues():
            yield f"{variable} of {function} is not about a queue"
            continue
        for action, queue in [*((action, dead) for action in REDRIVE), ("sqs:SendMessage", source), ("sqs:GetQueueAttributes", source)]:
            if not project.may(function, action, queue):
                yield f"{function} is told {variable}, and may not {action} on {queue}"


# Which resources an action is about; the rest of the name is a path below it.
ABOUT = {
    "dynamodb": r"Data\.Outputs\.TableArn(}/index/(due|by_account)$|}?$)",
    "s3:ListBucket": r"Data\.Outputs\.BucketArn}?$",
    "s3": r"Data\.Outputs\.BucketArn}/[a-z]+/\*$",
    "sqs": r"[A-Z]\w+(Queue|DeadLetters)\.Arn$",
    "secretsmanager": r"Data\.Outputs\.ProviderSecretsArn$",
    "kms": r"Data\.Outputs\.KeyArn$",
}


def check_rights(project):
    documents = {name: project.statements(name) for name in project.functions()}
    for name, policy in project.of_type("AWS::IAM::ManagedPolicy").items():
        documents[name] = policy["Properties"]["PolicyDocument"]["Statement"]
    for name, statements in documents.items():
        for statement in statements:
            for action in listed(statement.get("Action", "*")):
                if "*" in action:
                    yield f"{name} is allowed `{action}`: name each action"
                    continue
                pattern = ABOUT.get(action) or ABOUT.get(action.split(":")[0], "$^")
                for resource in listed(statement.get("Resource", "*")):
                    target = resource if isinstance(resource, str) else next(iter(resource.values()))
                    target = ".".join(target) if isinstance(target, list) else target
                    if not re.search(rf"^(\${{)?{pattern}", target):
                        yield f"{name} is allowed `{action}` on `{target}`, which it cannot be about"


def check_schedules(project):
    for name, rule in project.of_type("AWS::Events::Rule").items():
        expression = rule["Properties"].get("ScheduleExpression", "")
        if expression.startswith("cron("):
            fields = expression[5:-1].split()
            if len(fields) != 6 or (fields[2] == "?") == (fields[4] == "?"):
                yield f"{name}: EventBridge refuses `{expression}`: six fields, and one of the two for days is `?`"
        elif not RATE.fullmatch(expression):
            yield f"{name}: EventBridge refuses `{expression}`"


def check_permissions(project):
    """Who calls a function has to be allowed to."""
    given, granted = set(), project.of_type("AWS::Lambda::Permission")
    for each in granted.values():
        given.add((name_in(each["Properties"]["FunctionName"]), each["Properties"]["Principal"].split(".")[0]))
    body = project.resources["Api"]["Properties"]["Body"]
    called = [(name_in_uri(operation["x-amazon-apigateway-integration"]["uri"]), "apigateway") for _, _, operation in operations(body)]
    for scheme in body["components"]["securitySchemes"].values():
        called.append((name_in_uri(scheme["x-amazon-apigateway-authorizer"]["authorizerUri"]), "apigateway"))
    for rule in project.of_type("AWS::Events::Rule").values():
        called += [(name_in(target["Arn"]), "events") for target in rule["Properties"]["Targets"]]
    for function, principal in sorted(set(called) - given, key=str):
        yield f"{principal} may not call {function}"
    for function in project.functions():
        permissions = {name: each["Properties"] for name, each in granted.items()}
        size = sum(size_of(name, each) for name, each in permissions.items() if name_in(each["FunctionName"]) == function)
        if size > LARGEST_POLICY_BYTES:
            yield f"the permissions to call {function} take {size} bytes, and Lambda keeps {LARGEST_POLICY_BYTES}: have fewer routes"


def size_of(name, permission):
    """How many bytes a permission takes in the policy that Lambda makes of them, in a stack called darkroom-staging."""
    source = permission.get("SourceArn", {}).get("Fn::Sub", ["arn:aws:events:ap-southeast-2:123456789012:rule/" + "x" * 50])[0]
    function = f"arn:aws:lambda:ap-southeast-2:123456789012:function:darkroom-staging-{name_in(permission['FunctionName'])}-ABCDEFGHIJKL"
    statement = {
        "Sid": f"darkroom-staging-{name}-ABCDEFGHIJKL", "Effect": "Allow", "Principal": {"Service": permission["Principal"]},
        "Action": permission["Action"], "Resource": function, "Condition": {"ArnLike": {"AWS:SourceArn": source}},
    }
    return len(json.dumps(statement, separators=(",", ":")))


def name_in_uri(uri):
    found = re.search(r'\$\{(\w+)\.Arn\}|\["(\w+)", "Arn"\]', json.dumps(uri))
    return found.group(1) or found.group(2)


def operations(body):
    return [
        (path, method, operation) for path, methods in body["paths"].items() for method, operation in methods.items() if method != "options"
    ]


def check_routes(project):
    body = project.resources["Api"]["Properties"]["Body"]
    routes = {(method.upper(), path.replace("+}", "}")) for path, method, _ in operations(body)}
    described = json.loads((project.root / "openapi.json").read_text(encoding="utf-8"))
    for path, method, _ in operations(described):
        if (method.upper(), path) not in routes:
            yield f"openapi.json describes `{method.upper()} {path}`, which is not a route of template.yaml"
    for path, method, operation in operations(body):
        asked = any(scheme != "NONE" for each in operation.get("security", []) for scheme in each)
        if asked == path.startswith(OPEN):
            yield f"`{method.upper()} {path}` {'asks for a key that nobody there has' if asked else 'can be called without a key'}"
    log = project.template["Resources"]["Api"]["Properties"]["AccessLogSettings"]["Format"]
    for secret in re.findall(r"\$context\.(path|domainName|customDomain\.\w+|identity\.\w+|authorizer\.claims\S*)\b", log):
        yield f"the access log has `$context.{secret}`, which can tell a token or a person"
    try:
        json.loads(log)
    except ValueError as error:
        yield f"the access log is not JSON: {error}"


def check_nested(project):
    """What stacks within the stack are given and asked for."""
    for name, stack in project.of_type("AWS::CloudFormation::Stack").items():
        inner = project.nested.get(pathlib.PurePath(stack["Properties"]["TemplateURL"]).stem)
        if inner is None:
            yield f"{name} has no template `{stack['Properties']['TemplateURL']}`"
            continue
        given, declared = set(stack["Properties"].get("Parameters", {})), inner["Parameters"]
        for parameter in sorted(given - set(declared)):
            yield f"{name} has no parameter `{parameter}`"
        for parameter in sorted(key for key in set(declared) - given if "Default" not in declared[key]):
            yield f"{name} is not given its parameter `{parameter}`"
        outputs = inner.get("Outputs", {})
        for output, conditions in asked_of(project.transformed, name):
            condition = outputs.get(output, {}).get("Condition")
            if output not in outputs:
                yield f"{name} has no output `{output}`"
            elif condition and not any(implies(project.transformed, held, condition) for held in conditions):
                yield f"the output `{output}` of {name} is there only if {condition}, and asked for always"


def implies(template, held, needed):
    """Whether a condition is another one, or one of those that an `Or` of that name lists; both stacks call theirs the same."""
    alternatives = template["Conditions"].get(needed, {}).get("Fn::Or", [])
    return held == needed or {"Condition": held} in alternatives


def asked_of(template, stack):
    for node, conditions in walk(template):
        if isinstance(node, dict) and "Fn::GetAtt" in node:
            parts = ".".join(listed(node["Fn::GetAtt"])).split(".")
            if parts[0] == stack:
                yield parts[-1], conditions
        elif isinstance(node, dict) and isinstance(node.get("Fn::Sub"), str):
            for output in re.findall(rf"\$\{{{stack}\.Outputs\.(\w+)\}}", node["Fn::Sub"]):
                yield output, conditions


def check_data(project):
    for name, resource in project.nested["data"]["Resources"].items():
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"]:
            if resource.get(policy) != "Retain":
                yield f"{name} does not outlive the stack: {policy} has to be Retain"
    resources = project.nested["data"]["Resources"]
    bucket, table = resources["Bucket"]["Properties"], resources["Table"]["Properties"]
    blocked = bucket.get("PublicAccessBlockConfiguration", {})
    if [blocked.get(key) for key in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"]] != [True] * 4:
        yield "the bucket is not closed to the public"
    if "BucketEncryption" not in bucket:
        yield "the bucket does not say how it encrypts"
    if not table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        yield "the table cannot be restored to a point in time"
    for statement in resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]:
        if statement["Effect"] != "Deny":
            yield f"the bucket's policy allows {statement['Action']}: roles are given rights, the bucket is not opened"


def check_settings(project):
    """samconfig.toml: a parameter that is not there makes the deploy fail."""
    declared = project.template["Parameters"]
    settings = tomllib.loads((project.root / "samconfig.toml").read_text(encoding="utf-8"))
    for environment, commands in settings.items():
        given = commands.get("deploy", {}).get("parameters", {}).get("parameter_overrides", []) if isinstance(commands, dict) else []
        for name, _, value in (each.partition("=") for each in (given.split() if isinstance(given, str) else given)):
            if name not in declared:
                yield f"samconfig.toml: `{environment}` sets `{name}`, which is not a parameter"
            elif value not in map(str, declared[name].get("AllowedValues", [value])):
                yield f"samconfig.toml: `{environment}` sets `{name}` to `{value}`, which is not allowed"


CHECKS = [
    check_queues, check_functions, check_rights, check_schedules, check_permissions, check_routes, check_nested, check_data, check_settings, check_alarms,
]


def mistakes(root):
    """Each mistake, with the check that found it."""
    try:
        project = Project(root)
    except Exception as error:  # The transform refuses with whatever it has at hand.
        return [("transform", str(error))]
    return [(check.__name__.removeprefix("check_"), found) for check in CHECKS for found in check(project)]


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    if not (folder / "shared/src/metrics.rs").exists():
        print("SKIPPED: names of the product's metrics were not checked, there is no shared/src/metrics.rs")
    all_found = mistakes(folder)
    for check, found in all_found:
        print(f"{check}: {found}")
    sys.exit(1 if all_found else 0)
