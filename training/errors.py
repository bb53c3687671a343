"""Errors of training and evaluation for the person who started it."""

from model_layer.errors import UserError


class TrainingError(UserError):
    """The data, the weights or an option cannot be used; the message is one sentence that says what to change."""
