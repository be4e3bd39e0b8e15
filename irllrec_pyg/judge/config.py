r"""How much a judgement looks at."""

from ..config import Config, field


class JudgeConfig(Config):
    """How much :func:`~irllrec_pyg.judge.judging.judge` looks at."""

    users: int = field(
        10_000, ge=2, help="users who are ranked for, at most; a third to choose settings"
    )
    items: int = field(5000, ge=2, help="items that are ranked, at most")
    resamples: int = field(2000, ge=100, help="bootstrap samples of the users")
    seed: int = field(0, ge=0, help="seed of sample, permutation and bootstrap")
