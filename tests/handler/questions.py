"""The two questions that the table's indexes are made for, each as one page."""

from __future__ import annotations

from handler.store.queries import page
from handler.store.record import BY_LABEL, BY_PROBLEM


def most_confident(client, table, label, days, limit=100):
    """The images that got `label` on `days`, most confident first."""
    return page(client, table, BY_LABEL, [label], days, limit)[0]


def latest_problems(client, table, status, days, limit=100):
    """The uploads that ended with `status` on `days`, latest first."""
    return page(client, table, BY_PROBLEM, [status], days, limit)[0]
