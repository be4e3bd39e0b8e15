"""The rules of a study, which hold for every arm in its folder."""

from ..config import Config, field

#: The metric by which a setting is judged first; the others are looked at beside it.
FIRST = {
    "warm": "ndcg@20",
    "cold_items": "recall@20",
    "cold_users": "ndcg@20",
    "noisy_5": "ndcg@20",
    "noisy_10": "ndcg@20",
    "noisy_25": "ndcg@20",
    "given": "ndcg@20",
}
TUNED_BY = "ndcg@20"
LENGTHS = (5, 10, 20)
#: Added to seeds and splits of tuning, which no reported run has.
TUNING_SEED = 1_000_000
TUNING_SPLIT = 0


class StudyConfig(Config):
    """What holds for every arm."""

    trials: int = field(20, ge=1, help="settings tried for each arm")
    seconds: float | None = field(
        None, gt=0, help="no trial of an arm begins after so many seconds of trials"
    )
    splits: int = field(5, ge=1, help="re-drawn splits that are reported")
    seeds: int = field(3, ge=1, help="seeds on each split, for models that are random")
    k_core: int = field(5, ge=0, help="interactions that every user and item has at least")
    shares: tuple[float, float, float] = field(
        (0.6, 0.2, 0.2), help="shares of training, validation and test"
    )
    encoder: str = field("wordllama", help="text encoder, or several joined by +: wordllama+words")
    text_rank: int | None = field(
        None, ge=1, help="principal components of the texts that are kept"
    )
    narrow: int = field(32, ge=1, help="principal components that the text 'narrow' is reduced to")
    views: tuple[str, ...] | None = field(
        None, help="columns of items that the text 'views' puts side by side, each embedded alone"
    )
    intent: str | None = field(
        None, help="column of items with intent texts; none: the texts are the intents as well"
    )
    groups: int = field(4, ge=2, help="groups by degree of item and by history of user")
    margin: float = field(0.01, gt=0, help="share of the reference that counts as no difference")
