"""Collection of answers from options, suggestions and prompts, each checked."""

from collections.abc import Callable, Mapping

from sweep.cluster_setup.cluster_file import template, value_at
from sweep.cluster_setup.questions import QUESTIONS, Answers, SetupQuestion, Value, agree
from trainables.errors import BadInputError

Ask = Callable[[SetupQuestion, str | None, Callable[[str], Value]], Value]
"""Prompt for the user: takes the question, its default, and a parser that raises BadInputError for a wrong answer."""
Suggest = Callable[[SetupQuestion, Answers], str | None]
"""Default for a question, computed from the earlier answers; None without one."""


def provider_of(provider: str) -> str:
    """Return the provider; BadInputError if there is no template for it."""
    if provider not in QUESTIONS:
        raise BadInputError(f"--provider {provider!r}: must be one of {', '.join(QUESTIONS)}")
    return provider


def collect(provider: str, options: Mapping[str, str | None], ask: Ask | None, suggest: Suggest) -> dict[str, Value]:
    """Return the answers to all questions of a provider.

    Args:
        provider: aws or local.
        options: Answers from the command line; None for missing ones.
        ask: Prompt for missing answers; None without a person to ask.
        suggest: Defaults that the template doesn't contain.

    Raises:
        BadInputError: An answer is wrong, or answers are missing and nobody can be asked.
    """
    _belong(provider, options)
    answers: dict[str, Value] = {}
    lacking = []
    text = template(provider)
    for question in QUESTIONS[provider]:

        def checked(answer: str, question: SetupQuestion = question) -> Value:
            value = question.value_of(answer)
            agree({**answers, question.name: value})
            return value

        given = options.get(question.name)
        if given is not None:
            answers[question.name] = checked(given)
            continue
        default = str(value_at(text, question.places[0])) if question.usual else suggest(question, answers)
        if ask is not None:
            answers[question.name] = ask(question, default, checked)
        elif default is not None:
            answers[question.name] = checked(default)
        else:
            lacking.append(f"{question.option} ({question.text})")
    if lacking:
        raise BadInputError(f"not given: {'; '.join(lacking)}")
    return answers


def _belong(provider: str, options: Mapping[str, str | None]) -> None:
    known = {question.name for question in QUESTIONS[provider]}
    for questions in QUESTIONS.values():
        for question in questions:
            if options.get(question.name) is not None and question.name not in known:
                raise BadInputError(f"{question.option}: doesn't apply to --provider {provider}")
