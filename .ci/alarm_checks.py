"""Whether alarms and the dashboard look at something: names of metrics and dimensions are believed by CloudWatch, whatever they are."""

import json
import re

# What AWS reports, as far as it is used here: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/aws-services-cloudwatch-metrics.html>.
KNOWN = {
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage", "NumberOfMessagesSent", "NumberOfMessagesReceived"},
    "AWS/Lambda": {"Errors", "Throttles", "Invocations", "Duration", "ConcurrentExecutions"},
    "AWS/ApiGateway": {"Count", "4xx", "5xx", "Latency", "IntegrationLatency", "DataProcessed"},
    "AWS/DynamoDB": {
        "ReadThrottleEvents", "WriteThrottleEvents", "ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits", "TransactionConflict",
    },
}
DIMENSIONS = {
    "AWS/SQS": [["QueueName"]],
    "AWS/Lambda": [["FunctionName"]],
    "AWS/ApiGateway": [["ApiId"]],
    "AWS/DynamoDB": [["TableName"], ["TableName", "GlobalSecondaryIndexName"]],
    "own": [[]],
}
# What a dimension is filled with, and where the stack's parameter of that name has to come from.
FILLED = {
    "QueueName": ("AWS::SQS::Queue", lambda name: {"Fn::GetAtt": [name, "QueueName"]}),
    "FunctionName": ("AWS::Lambda::Function", lambda name: {"Ref": name}),
    "ApiId": (None, lambda _: {"Ref": "Api"}),
    "TableName": (None, lambda _: {"Fn::GetAtt": ["Data", "Outputs.TableName"]}),
}


def check_alarms(project):
    template = project.nested["monitoring"]
    own = own_metrics(project.root)
    watched = set()
    for place, namespace, metric, dimensions in [*in_alarms(template), *in_dashboard(template)]:
        kind = "own" if namespace == "Namespace" else namespace
        known = own if kind == "own" else KNOWN.get(namespace, set())
        if known is not None and metric not in known:
            yield f"{place} looks at `{metric}`, which {'the product' if kind == 'own' else namespace} does not report"
        if [name for name, _ in dimensions] not in DIMENSIONS.get(kind, []):
            yield f"{place} looks at `{metric}` by {[name for name, _ in dimensions]}, by which it is not reported"
        for name, value in dimensions:
            yield from check_dimension(project, template, place, name, value)
            watched.add((place.startswith("Dashboard"), metric, value))
    yield from check_coverage(project, watched)
    yield from check_expressions(template)
    given = project.resources["Monitoring"]["Properties"]["Parameters"].get("Namespace")
    written = project.template["Globals"]["Function"]["Environment"]["Variables"].get("METRICS_NAMESPACE")
    if given != written:
        yield f"alarms look into the namespace {given}, and functions write to {written}"


def own_metrics(root):
    """The names that the product reports; None where the file that has them is not there."""
    source = root / "shared" / "src" / "metrics.rs"
    if not source.exists():
        return None
    return set(re.findall(r'name: "([A-Za-z]+)"', source.read_text(encoding="utf-8")))


def alarms(template):
    return {name: each["Properties"] for name, each in template["Resources"].items() if each["Type"] == "AWS::CloudWatch::Alarm"}


def in_alarms(template):
    for name, alarm in alarms(template).items():
        metrics = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each]
        for metric in metrics or [alarm]:
            dimensions = [(each["Name"], reference(each["Value"])) for each in metric.get("Dimensions", [])]
            yield name, reference(metric["Namespace"]), metric["MetricName"], dimensions


def in_dashboard(template):
    body = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    for widget in json.loads(body)["widgets"]:
        for namespace, metric, *rest in widget["properties"]["metrics"]:
            dimensions = [(name, value.strip("${}")) for name, value in zip(rest[::2], rest[1::2], strict=True)]
            yield f"Dashboard, `{widget['properties']['title']}`", namespace.strip("${}"), metric, dimensions


def reference(value):
    return value["Ref"] if isinstance(value, dict) else value


def check_dimension(project, template, place, name, value):
    if name not in FILLED:
        indexes = project.nested["data"]["Resources"]["Table"]["Properties"]["GlobalSecondaryIndexes"]
        if value not in [index["IndexName"] for index in indexes]:
            yield f"{place} looks at the index `{value}`, which the table does not have"
        return
    kind, source = FILLED[name]
    if value not in template["Parameters"]:
        yield f"{place} looks at `{value}`, which is not a parameter"
    elif kind and value not in project.of_type(kind):
        yield f"{place} looks at the {name} of `{value}`, which is not a {kind}"
    elif project.resources["Monitoring"]["Properties"]["Parameters"].get(value) != source(value):
        yield f"{place} looks at `{value}`, which template.yaml fills with something else"


def check_coverage(project, watched):
    """A queue or a function that is new has to be watched too."""
    needed = [("Errors", name) for name in project.functions()] + [("Throttles", name) for name in project.functions()]
    for name, queue in project.queues().items():
        dead = "RedrivePolicy" not in queue
        needed.append(("ApproximateNumberOfMessagesVisible" if dead else "ApproximateAgeOfOldestMessage", name))
    for metric, name in needed:
        for dashboard in [False, True]:
            if (dashboard, metric, name) not in watched:
                yield f"no {'widget' if dashboard else 'alarm'} looks at {metric} of {name}"


def check_expressions(template):
    for name, alarm in alarms(template).items():
        if "TreatMissingData" not in alarm:
            yield f"{name} does not say what it means if nothing is reported"
        metrics = alarm.get("Metrics", [])
        if len(metrics) > 11:
            yield f"{name} looks at more than ten metrics, which CloudWatch refuses"
        ids = {each["Id"] for each in metrics if "MetricStat" in each}
        used = {word for each in metrics if "Expression" in each for word in re.findall(r"\b[a-z]\w*", each["Expression"])}
        if ids != used:
            yield f"{name} reckons with {sorted(used)}, and has {sorted(ids)}"
