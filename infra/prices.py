"""What AWS charges, in US dollars: the one table that the docs, `dermbatch backfill --dry-run` and the dashboard quote.

First tier, no free allowance, no discount. `source` is the service's own page of prices. For another region put its
prices here and run `python -m benchmarks.cost`. A test compares template.yaml's `Mappings` with this table.
"""

from __future__ import annotations

from typing import NamedTuple

REGION = "us-east-1"
PRICED_ON = "2026-11-23"
_PAGES = "https://aws.amazon.com/{}/pricing/"


class Price(NamedTuple):
    """Dollars for one `unit`."""

    dollars: float
    unit: str
    service: str
    source: str


def _price(dollars: float, unit: str, service: str, page: str) -> Price:
    return Price(dollars, unit, service, _PAGES.format(page))


_MILLION = 1e6

PRICES = {
    "lambda_gb_second": _price(0.0000166667, "GB-second, x86", "Lambda", "lambda"),
    "lambda_gb_second_arm64": _price(0.0000133334, "GB-second, arm64", "Lambda", "lambda"),
    "lambda_request": _price(0.20 / _MILLION, "request", "Lambda", "lambda"),
    "snapstart_cached_gb_second": _price(0.0000015046, "GB-second of a kept version", "SnapStart", "lambda"),
    "snapstart_restored_gb": _price(0.0001397998, "GB restored", "SnapStart", "lambda"),
    "s3_put": _price(5.00 / _MILLION, "PUT", "S3", "s3"),
    "s3_list": _price(5.00 / _MILLION, "LIST", "S3", "s3"),
    "s3_get": _price(0.40 / _MILLION, "GET", "S3", "s3"),
    "s3_gb_month": _price(0.023, "GB-month, Standard", "S3", "s3"),
    "sqs_request": _price(0.40 / _MILLION, "request, standard queue", "SQS", "sqs"),
    "dynamodb_write": _price(0.625 / _MILLION, "write unit on demand", "DynamoDB", "dynamodb/on-demand"),
    "dynamodb_read": _price(0.125 / _MILLION, "read unit on demand", "DynamoDB", "dynamodb/on-demand"),
    "dynamodb_gb_month": _price(0.25, "GB-month, Standard", "DynamoDB", "dynamodb/on-demand"),
    "dynamodb_recovery_gb_month": _price(0.20, "GB-month, point in time", "DynamoDB", "dynamodb/on-demand"),
    "logs_gb": _price(0.50, "GB taken in", "CloudWatch Logs", "cloudwatch"),
    "logs_gb_month": _price(0.03, "GB-month, compressed", "CloudWatch Logs", "cloudwatch"),
    "metric_month": _price(0.30, "metric and month", "CloudWatch", "cloudwatch"),
    "alarm_metric_month": _price(0.10, "metric of an alarm and month", "CloudWatch", "cloudwatch"),
    "dashboard_month": _price(3.00, "dashboard and month", "CloudWatch", "cloudwatch"),
    "trace": _price(5.00 / _MILLION, "trace recorded", "X-Ray", "xray"),
    "kms_key_month": _price(1.00, "key and month", "KMS", "kms"),
    "secret_month": _price(0.40, "secret and month", "Secrets Manager", "secrets-manager"),
    "kms_request": _price(0.03 / 10_000, "request", "KMS", "kms"),
    "ecr_gb_month": _price(0.10, "GB-month", "ECR", "ecr"),
    "http_api_request": _price(1.00 / _MILLION, "request, HTTP API", "API Gateway", "api-gateway"),
}


def dollars(name: str) -> float:
    """For one unit of the entry `name`."""
    return PRICES[name].dollars
