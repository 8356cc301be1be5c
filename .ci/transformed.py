"""Prints what AWS makes of template.yaml: the SAM transform applied, with a stand-in for the built code.

cfn-lint finds about three times as many mistakes in this form as in the template itself.
"""

import json
import os
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.translator.transform import transform  # noqa: E402
from samtranslator.yaml_helper import yaml_parse  # noqa: E402

BUILT = "s3://built/code.zip"
PACKED = "s3://built/layer.zip"


def value(declared):
    """What CloudFormation hands to the transform, where nothing else is given."""
    default = declared.get("Default", "x" * 32)
    return default.split(",") if declared["Type"] == "CommaDelimitedList" else default


def transformed(text, code=BUILT):
    """The template as plain CloudFormation; `code` is where its functions' code lies. Layers that are not packaged lie somewhere, too."""
    template = yaml_parse(text)
    template["Globals"]["Function"]["CodeUri"] = code
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::LayerVersion" and not resource["Properties"]["ContentUri"].startswith("s3://"):
            resource["Properties"]["ContentUri"] = PACKED
    parameters = {name: value(declared) for name, declared in template["Parameters"].items()}
    return transform(template, parameters, None)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        json.dump(transformed(file.read()), sys.stdout, indent=2)
