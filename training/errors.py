"""What stops a training or evaluation, told to the person who started it."""

from model_layer.errors import UserError


class TrainingError(UserError):
    """The data, the weights or an option do not fit; the message is one sentence that says what to change."""
