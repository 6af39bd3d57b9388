"""One speech recogniser, two models: dense full-context and sparse streaming.

Importing this package loads neither torch nor espnet; see :func:`register`.
"""

__version__ = "0.1.0"
__all__ = ["__version__", "register"]


def register() -> None:
    """Add our encoders, front-end and model to ESPnet's class tables (idempotent).

    Call it before a stock ESPnet tool loads one of our checkpoints.

    Raises:
        RuntimeError: If a name of ours is already taken by a foreign class.
    """
    from espnet2_supernet.registry import register as register_classes

    register_classes()
