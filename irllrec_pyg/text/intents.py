r"""What the prompts of item and user intents are filled with."""

from collections.abc import Mapping

from .profiles import Context, Sampling, item_context, user_context
from .source import TrainingTexts


def item_intent_context(
    source: TrainingTexts, sampling: Sampling, item: int, profiles: Mapping[int, str]
) -> Context | None:
    """What is known of an item, and its generated profile."""
    context = item_context(source, sampling, item)
    if context is not None:
        context["item"]["profile"] = profiles.get(item, "")
    return context


def user_intent_context(
    source: TrainingTexts,
    sampling: Sampling,
    user: int,
    item_profiles: Mapping[int, str],
    user_profiles: Mapping[int, str],
) -> Context | None:
    """The same sample of training items as for the profile, and the generated profile."""
    context = user_context(source, sampling, user, item_profiles)
    if context is not None:
        context["profile"] = user_profiles.get(user, "")
    return context
