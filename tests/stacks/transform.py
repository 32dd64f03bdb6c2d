"""Transforms each stack as SAM does when it is deployed, and counts what is in it.

    python tests/stacks/transform.py [--document docs/DEPLOY.md [--write]] [template.yaml]

It fails when a stack has more than MAX_RESOURCES resources, or when the document's tables are not what was counted;
with --write it puts them right instead. It needs the package aws-sam-translator, and no network.
"""
import argparse
import logging
import os
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# Of CloudFormation's 500, so that a stack can be divided before it must be.
MAX_RESOURCES = 350
# Dollars a month: https://aws.amazon.com/cloudwatch/pricing and https://aws.amazon.com/secrets-manager/pricing.
METRIC_OF_AN_ALARM, METRIC, DASHBOARD, SECRET = 0.10, 0.30, 3.00, 0.40
# The lines of the document between which the tables stand.
BEGIN, END = "<!-- counted by tests/stacks/transform.py -->\n", "<!-- end of what was counted -->\n"
# What a parameter is here; SAM wants to know a few of them.
VALUES = {"Number": 1, "String": "text", "CommaDelimitedList": "text"}


class NoManagedPolicies:
    """SAM would ask IAM for them; no template here names one without its ARN."""

    def load(self):
        return {}


def resources_of(path):
    """The resources of a stack by their ids, after SAM's transformation and that of Secrets Manager."""
    template = yaml_parse(path.read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # `sam package` has uploaded it by then.
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    parameters = template.get("Parameters", {})
    values = {name: parameter.get("Default", VALUES[parameter["Type"]]) for name, parameter in parameters.items()}
    values["AWS::Region"] = os.environ["AWS_DEFAULT_REGION"]
    resources = transform(template, values, NoManagedPolicies())["Resources"]
    # The function of each hosted rotation becomes a nested stack.
    rotations = [name for name, one in resources.items() if "HostedRotationLambda" in one.get("Properties", {})]
    return resources | {f"{name}HostedRotation": {"Type": "AWS::CloudFormation::Stack"} for name in rotations}


def stacks_of(root):
    """The stacks by their names, the root first."""
    stacks = {"root": resources_of(root)}
    for resource in list(stacks["root"].values()):
        url = resource.get("Properties", {}).get("TemplateURL")
        if url:
            stacks[Path(url).stem] = resources_of(root.parent / url)
    return stacks


def metrics_of(alarm):
    """The metrics that an alarm watches, each as namespace and the rest that tells it from others."""
    queries = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
    return [(str(one["Namespace"]), one["MetricName"] + str(one.get("Dimensions", ""))) for one in queries or [alarm]]


def bill(stacks):
    """What CloudWatch and Secrets Manager charge for: description, number, dollars a month for each."""
    resources = [(one["Type"], one.get("Properties", {})) for stack in stacks.values() for one in stack.values()]

    def of_type(wanted):
        return [properties for kind, properties in resources if kind == wanted]

    watched = [metric for alarm in of_type("AWS::CloudWatch::Alarm") for metric in metrics_of(alarm)]
    filtered = [one for each in of_type("AWS::Logs::MetricFilter") for one in each["MetricTransformations"]]
    # A filter that counts sends nothing while it finds nothing; one that takes a field's value always finds it.
    always = {one["MetricName"] for one in filtered if str(one["MetricValue"]).startswith("$")}
    own = {rest for namespace, rest in watched if not namespace.startswith("AWS/")}
    sometimes = (own | {one["MetricName"] for one in filtered}) - always
    return [
        ("metrics that alarms watch", len(watched), METRIC_OF_AN_ALARM),
        ("metrics of our own that are sent all the time", len(always), METRIC),
        ("metrics of our own that are sent in hours with a failure, at most", len(sometimes), METRIC),
        ("dashboards, beyond an account's first three", len(of_type("AWS::CloudWatch::Dashboard")), DASHBOARD),
        ("secrets", len(of_type("AWS::SecretsManager::Secret")), SECRET),
    ]


def tables(stacks):
    """What the document says, as Markdown."""
    lines = ["| stack | resources |", "|---|---|"]
    lines += [f"| {name} | {len(resources)} |" for name, resources in stacks.items()]
    lines += ["", "| charged by the month | number | dollars |", "|---|---|---|"]
    lines += [f"| {what} | {number} | {number * price:.2f} |" for what, number, price in bill(stacks)]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root", nargs="?", type=Path, default=Path("template.yaml"))
    parser.add_argument("--document", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    logging.disable()  # SAM speaks of its own feature toggles.
    stacks = stacks_of(arguments.root)
    counted = tables(stacks)
    print(counted)
    large = [name for name, resources in stacks.items() if len(resources) > MAX_RESOURCES]
    if large:
        sys.exit(f"more than {MAX_RESOURCES} resources: {', '.join(large)}")
    if arguments.document:
        before, rest = arguments.document.read_text().split(BEGIN)
        said, after = rest.split(END)
        if arguments.write:
            arguments.document.write_text(before + BEGIN + counted + END + after)
        elif said != counted:
            sys.exit(f"{arguments.document} does not say what was counted; make it by adding --write")


main()
