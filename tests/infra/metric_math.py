"""CloudWatch's alarms, evaluated for one period: as much of metric math as the template uses.

A metric without data in the period is None; any arithmetic on None is None, which CloudWatch calls missing.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType


class _Missing:
    """Absent data: what is computed from it is absent too."""

    def _same(self, *_: object) -> _Missing:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _same
    __gt__ = __lt__ = __ge__ = __le__ = _same  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, _: object) -> Any:
        return self

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()


def breaches(alarm: Mapping[str, Any], data: Mapping[tuple[str, str], float]) -> bool:
    """Whether one period of `data` breaches the alarm's threshold. Keys are (MetricName, Stat).

    Of a metric of a queue or an index the name is `<queue's id or index>.<MetricName>`.
    """
    if "Metrics" in alarm:
        value = evaluate(alarm["Metrics"], data)
    else:
        value = data.get((_full_name(alarm), alarm["Statistic"]), MISSING)
    if value is MISSING:
        assert alarm["TreatMissingData"] == "notBreaching"
        return False
    threshold = float(alarm["Threshold"])
    over = {"GreaterThanThreshold": value > threshold, "GreaterThanOrEqualToThreshold": value >= threshold}
    return over[alarm["ComparisonOperator"]]


def evaluate(metrics: list[Mapping[str, Any]], data: Mapping[tuple[str, str], float]) -> Any:
    """The value of the one metric that returns data."""
    by_id = {metric["Id"]: metric for metric in metrics}
    (answer,) = (metric["Id"] for metric in metrics if metric.get("ReturnData", True))

    def value(name: str) -> Any:
        metric = by_id[name]
        if "MetricStat" in metric:
            stat = metric["MetricStat"]
            return data.get((_full_name(stat["Metric"]), stat["Stat"]), MISSING)
        expression = metric["Expression"].replace(" AND ", " and ").replace(" OR ", " or ")
        names = {word for word in re.findall(r"[a-z_]\w*", expression) if word in by_id}
        scope = {"__builtins__": {}, "IF": _if, "FILL": _fill, "ABS": _abs, "MAX": _max}
        scope["DIV"] = lambda one, other: MISSING if other == 0 else one / other
        return eval(_with_checked_division(expression), scope, {word: value(word) for word in names})

    return value(answer)


class _CheckedDivision(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div):
            return node
        return ast.Call(ast.Name("DIV", ast.Load()), [node.left, node.right], [])


def _with_checked_division(expression: str) -> CodeType:
    """In metric math, what is divided by zero is missing."""
    tree = ast.fix_missing_locations(_CheckedDivision().visit(ast.parse(expression.strip(), mode="eval")))
    return compile(tree, "<expression>", "eval")


def _full_name(metric: Mapping[str, Any]) -> str:
    of = [p["Value"] for p in metric["Dimensions"] if p["Name"] in {"QueueName", "GlobalSecondaryIndexName"}]
    return f"{of[0].split('.')[0]}.{metric['MetricName']}" if of else str(metric["MetricName"])


def _if(condition: Any, then: Any, other: Any) -> Any:
    return MISSING if condition is MISSING else (then if condition else other)


def _fill(value: Any, instead: float) -> Any:
    return instead if value is MISSING else value


def _abs(value: Any) -> Any:
    return MISSING if value is MISSING else abs(value)


def _max(values: list[Any]) -> Any:
    there = [value for value in values if value is not MISSING]
    return max(there) if there else MISSING
