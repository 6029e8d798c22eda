"""Rules for the resume tokens of a visitor: of concurrent uses of one token, the first in the log replaces it.

A token is of a family and a generation. Tokens are not stored; the conversation knows which one is valid.
"""

from airy.model.fact import ResumeTokensRevoked, ResumeTokenUsed
from airy.model.fold_context import FoldContext


def resume_token_used(context: FoldContext, fact: ResumeTokenUsed) -> bool:
    conversation = context.conversation
    if (fact.family, fact.generation) != (conversation.resume_family, conversation.resume_generation):
        return False
    conversation.resume_generation += 1
    conversation.resumed_at_ms = fact.at_ms
    return True


def resume_tokens_revoked(context: FoldContext, fact: ResumeTokensRevoked) -> bool:
    conversation = context.conversation
    if fact.family != conversation.resume_family:
        return False
    conversation.resume_family += 1
    conversation.resume_generation = conversation.resumed_at_ms = 0
    return True
