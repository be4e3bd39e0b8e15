r"""What may be spent on a model's answers."""

from dataclasses import dataclass

from .chat import Usage


@dataclass
class Budget:
    r"""What may be spent. Each request reserves the most that it can cost before it is sent.

    Args:
        limit (float): The most that may be spent in all.
        prices (tuple): Of a million prompt tokens and of a million answer tokens.
        spent (float): What was spent before. (default: ``0.0``)
    """

    limit: float
    prices: tuple[float, float]
    spent: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= number < float("inf") for number in (*self.prices, self.limit)):
            raise ValueError(
                "The budget (--max-cost) and its prices (--prices) must be numbers from 0, got "
                f"{self.limit:g} and {', '.join(f'{price:g}' for price in self.prices)}."
            )

    def cost(self, usage: Usage) -> float:
        """The price of so many tokens."""
        return (usage.prompt * self.prices[0] + usage.completion * self.prices[1]) / 1e6

    def reserve(self, most: Usage) -> bool:
        """Takes what a request can cost at most, if that is left."""
        fits = self.spent + self.cost(most) <= self.limit
        self.spent += self.cost(most) * fits
        return fits

    def settle(self, most: Usage, used: Usage) -> None:
        """Gives back what a request did not cost."""
        self.spent -= self.cost(most) - self.cost(used)
