"""Seeds mistakes into copies of the template's files and says which check finds each: `mistakes.py <checkov>`.

Own checks are tried first, then cfn-lint, then checkov, since that is the order of what they cost. A mistake that none finds is an error.
"""

import json
import multiprocessing
import pathlib
import shutil
import subprocess
import sys
import tempfile

import template_checks
from cfnlint.api import lint_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = ["template.yaml", "samconfig.toml", "openapi.json", "infra/data.yaml", "infra/monitoring.yaml"]
MAIN, DATA, ALARMS = "template.yaml", "infra/data.yaml", "infra/monitoring.yaml"
METRICS = "shared/src/metrics.rs"
# What cfn-lint says of the right files too: parameters that the transform has put in, and paths that `sam package` replaces.
EXPECTED = {"W2001", "W3002"}

# What it is, the file, what stands there, what is written instead. Only the first place is changed.
MISTAKES = [
    ("wrong Ref of a queue", MAIN, "COLLECT_QUEUE_URL: !Ref CollectQueue", "COLLECT_QUEUE_URL: !Ref ColectQueue"),
    ("wrong attribute", MAIN, "Queue: !GetAtt PollQueue.Arn", "Queue: !GetAtt PollQueue.Name"),
    ("wrong output of a nested stack", MAIN, "!GetAtt Data.Outputs.TableName", "!GetAtt Data.Outputs.TablName"),
    ("wrong output within Sub", MAIN, "${Data.Outputs.BucketArn}/results/*", "${Data.Outputs.BuckArn}/results/*"),
    ("missing parameter of a nested stack", MAIN, "        CustomerManagedKey: !Ref CustomerManagedKey\n", ""),
    ("unknown parameter of a nested stack", MAIN, "        ApiId: !Ref Api\n        TableName", "        Api: !Ref Api\n        TableName"),
    ("wrong path of a nested template", MAIN, "TemplateURL: infra/data.yaml", "TemplateURL: infra/table.yaml"),
    (
        "the key's output asked for without its condition", MAIN,
        "    KmsKeyArn: !If [OwnKey, !GetAtt Data.Outputs.KeyArn, !Ref AWS::NoValue]",
        "    KmsKeyArn: !GetAtt Data.Outputs.KeyArn",
    ),
    (
        "the key taken from its users when it encrypts no more", MAIN,
        "HasKey: !Or [!Condition OwnKey, !Equals [!Ref CustomerManagedKey, former]]",
        "HasKey: !Or [!Equals [!Ref CustomerManagedKey, former], !Equals [!Ref CustomerManagedKey, formerly]]",
    ),
    ("misspelt property", MAIN, "VisibilityTimeout: 360\n", "VisibilityTimeOut: 360\n"),
    ("unknown value of a property", MAIN, "LogFormat: JSON", "LogFormat: XML"),
    ("misspelt property of a function", MAIN, "MemorySize: 1024", "MemSize: 1024"),
    ("no layer for the fonts", MAIN, "      Layers: [!Ref FontsLayer]\n", ""),
    ("visibility below the time-out", MAIN, "VisibilityTimeout: 1800", "VisibilityTimeout: 180"),
    ("time-out above the API's", MAIN, "Timeout: 29", "Timeout: 60"),
    ("cron of five fields", MAIN, "Schedule: rate(1 day)", "Schedule: cron(0 3 * * *)"),
    ("rate in the wrong number", MAIN, "rate(1 minute)", "rate(1 minutes)"),
    (
        "no dead letters", MAIN,
        "      RedrivePolicy:\n"
        "        deadLetterTargetArn: !GetAtt PollDeadLetters.Arn\n"
        "        maxReceiveCount: 5\n",
        "",
    ),
    (
        "another queue's dead letters", MAIN,
        "deadLetterTargetArn: !GetAtt PollDeadLetters.Arn",
        "deadLetterTargetArn: !GetAtt CollectDeadLetters.Arn",
    ),
    ("dead letters that are forgotten first", MAIN, "MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 86400"),
    ("no partial batches", MAIN, "            FunctionResponseTypes: [ReportBatchItemFailures]\n", ""),
    ("more readers than one function may have", MAIN, "MaximumConcurrency: !Ref PollConcurrency", "MaximumConcurrency: 1"),
    ("wildcard action", MAIN, "Action: dynamodb:GetItem", 'Action: "dynamodb:*"'),
    ("wildcard resource", MAIN, "Resource: !GetAtt Data.Outputs.ProviderSecretsArn", 'Resource: "*"'),
    (
        "right to the wrong kind of thing", MAIN,
        "Action: sqs:SendMessage\n"
        "              Resource: !GetAtt PollQueue.Arn",
        "Action: sqs:SendMessage\n"
        "              Resource: !GetAtt Data.Outputs.TableArn",
    ),
    (
        "one queue left out of a right", MAIN,
        "[!GetAtt DispatchDeadLetters.Arn, !GetAtt CollectDeadLetters.Arn, !GetAtt PollDeadLetters.Arn]",
        "[!GetAtt DispatchDeadLetters.Arn, !GetAtt CollectDeadLetters.Arn]",
    ),
    ("misspelt action", MAIN, "sqs:StartMessageMoveTask", "sqs:StartMessageMove"),
    (
        "function without policies", MAIN,
        "      Policies:\n"
        '        - Version: "2012-10-17"\n'
        "          Statement:\n"
        "            # Only what lies under accounts.",
        "      Tags: {}\n"
        "      Description:\n"
        '        - Version: "2012-10-17"\n'
        "          Statement:\n"
        "            # Only what lies under accounts.",
    ),
    ("misspelt path parameter", MAIN, "Path: /v1/generations/{id}/cancel", "Path: /v1/generations/{generation}/cancel"),
    ("path parameter left open", MAIN, "Path: /v1/boxes/{id}", "Path: /v1/boxes/{id"),
    (
        "route without a key", MAIN,
        "            Path: /v1/quotes\n",
        "            Path: /v1/quotes\n"
        "            Auth:\n"
        "              Authorizer: NONE\n",
    ),
    ("gateway may not ask the authorizer", MAIN, "EnableFunctionDefaultPermissions: true", "EnableFunctionDefaultPermissions: false"),
    ("token in the access log", MAIN, "$context.routeKey", "$context.path"),
    ("access log that is not JSON", MAIN, '"status":"$context.status",', '"status":"$context.status"'),
    ("other namespace of metrics", MAIN, "METRICS_NAMESPACE: !Sub Darkroom/", "METRICS_NAMESPACE: !Sub darkroom/"),
    (
        "alarm on the wrong queue", MAIN,
        "PollDeadLetters: !GetAtt PollDeadLetters.QueueName",
        "PollDeadLetters: !GetAtt PollQueue.QueueName",
    ),
    ("public bucket", DATA, "RestrictPublicBuckets: true", "RestrictPublicBuckets: false"),
    ("bucket opened by its policy", DATA, "Effect: Deny", "Effect: Allow"),
    ("table that does not outlive the stack", DATA, "    DeletionPolicy: Retain\n", "    DeletionPolicy: Delete\n"),
    ("no point-in-time recovery", DATA, "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false"),
    ("key attribute without a type", DATA, "        - AttributeName: due_at\n          AttributeType: N\n", ""),
    ("unknown storage policy", DATA, "ObjectOwnership: BucketOwnerEnforced", "ObjectOwnership: BucketOwner"),
    ("key that anybody may use", DATA, "AWS: !Sub arn:${AWS::Partition}:iam::${AWS::AccountId}:root", 'AWS: "*"'),
    ("key that is never rotated", DATA, "EnableKeyRotation: true", "EnableKeyRotation: false"),
    ("wrong name of a product's metric", ALARMS, "MetricName: LostCallbacks", "MetricName: LostCallback"),
    ("wrong name of an AWS metric", ALARMS, "MetricName: ApproximateAgeOfOldestMessage", "MetricName: AgeOfOldestMessage"),
    ("wrong metric in the dashboard", ALARMS, '"OldestHoldSeconds"]', '"OldestHold"]'),
    ("wrong dimension", ALARMS, "- Name: QueueName", "- Name: Queue"),
    ("wrong index in an alarm", ALARMS, "Value: by_account", "Value: by_owner"),
    ("unknown treatment of missing data", ALARMS, "TreatMissingData: notBreaching", "TreatMissingData: notbreaching"),
    ("sum of a metric that is not there", ALARMS, "FILL(of_poll, 0)", "FILL(of_pol, 0)"),
    ("setting that is not a parameter", "samconfig.toml", "LogRetentionDays=14", "LogRetention=14"),
    ("setting that is not allowed", "samconfig.toml", "LogRetentionDays=14", "LogRetentionDays=15"),
]
NEED_METRICS = {"wrong name of a product's metric", "wrong metric in the dashboard"}


def seeded(folder, file, old, new):
    """A copy of the files with one mistake in it."""
    for name in [*FILES, METRICS]:
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    text = (folder / file).read_text(encoding="utf-8")
    if old not in text:
        sys.exit(f"mistakes.py wants to change `{old}` in {file}, which is not there any more")
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")


def by_own_checks(folder):
    found = template_checks.mistakes(folder)
    return f"{found[0][0]}: {found[0][1]}" if found else None


def by_cfn_lint(folder, file):
    if file == MAIN:
        deployed = folder / "deployed.json"
        deployed.write_text(json.dumps(template_checks.deployed((folder / MAIN).read_text(encoding="utf-8")), indent=1), encoding="utf-8")
        file = deployed.name
    found = [match for match in lint_file(folder / file) if match.rule.id not in EXPECTED]
    return f"cfn-lint {found[0].rule.id}: {found[0].message}" if found else None


def by_checkov(checkov, folders):
    """By folder, for all of them at once: the scan takes long to start, and for the large template it takes longer still."""
    files = [str(folder / DATA) for folder in folders]
    command = [checkov, "--config-file", str(ROOT / ".ci" / "checkov.yaml"), "--output", "json", "-f", *files]
    report = subprocess.run(command, capture_output=True, text=True, check=False)
    failed = json.loads(report.stdout)["results"]["failed_checks"]
    folder_of = {str(folder.name): folder for folder in folders}
    return {
        folder_of[part]: f"checkov {check['check_id']}: {check['check_name']}"
        for check in failed for part in pathlib.PurePath(check["file_path"]).parts if part in folder_of
    }


def find(seed):
    folder, (_, file, old, new) = seed
    seeded(folder, file, old, new)
    return by_own_checks(folder) or by_cfn_lint(folder, file)


def say(what, finder):
    print(f"{what:50} {finder or 'SLIPS THROUGH'}"[:150])


def main(checkov):
    mistakes = MISTAKES
    if not (ROOT / METRICS).exists():
        print(f"SKIPPED: wrong names of the product's metrics, there is no {METRICS}")
        mistakes = [mistake for mistake in MISTAKES if mistake[0] not in NEED_METRICS]
    missed = {}
    with tempfile.TemporaryDirectory() as scratch, multiprocessing.Pool() as workers:
        folders = [pathlib.Path(scratch) / f"mistake-{number}" for number in range(len(mistakes))]
        for folder, (what, *_), finder in zip(folders, mistakes, workers.imap(find, zip(folders, mistakes)), strict=True):
            if finder:
                say(what, finder)
            else:
                missed[folder] = what
        scanned = by_checkov(checkov, list(missed)) if missed else {}
        for folder, what in missed.items():
            say(what, scanned.get(folder))
    slipped = [what for folder, what in missed.items() if folder not in scanned]
    print(f"{len(mistakes) - len(slipped)} of {len(mistakes)} seeded mistakes were found")
    sys.exit(1 if slipped else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
