"""What one request may ask for."""

from ..config import Config, field


class Limits(Config):
    """What one request may ask for, and how many are worked on at once."""

    max_batch: int = field(256, ge=1, help="people, items or new items in a request")
    max_k: int = field(1000, ge=1, help="length of a list")
    max_history: int = field(10_000, ge=1, help="items of a history, or of a list of items")
    max_body: int = field(1 << 20, ge=1024, help="bytes of a request's body")
    max_seconds: float = field(
        30.0, gt=0, help="seconds that the body of a request may take to arrive"
    )
    threads: int | None = field(
        None, ge=1, help="requests that are ranked at once, others wait; null: cores of the CPU"
    )
