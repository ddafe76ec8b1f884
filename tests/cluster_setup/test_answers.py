"""Options, suggestions and prompts become answers."""

from collections.abc import Callable

import pytest

from sweep.cluster_setup.answers import collect, provider_of
from sweep.cluster_setup.questions import Answers, SetupQuestion, Value
from trainables.errors import BadInputError

GIVEN = {
    "region": "us-west-2",
    "zone": "us-west-2a",
    "bucket": "my-sweeps",
    "image": "ami-0123456789abcdef0",
    "security_group": "sg-0123456789abcdef0",
}


def nothing(question: SetupQuestion, answers: Answers) -> None:
    return None


def test_the_templates_values_serve_where_they_are_usual() -> None:
    answers = collect("aws", GIVEN, None, nothing)
    assert answers == {
        **GIVEN,
        "instance_type": "g5.2xlarge",
        "max_workers": 16,
        "market": "spot",
        "cluster_name": "sweep",
        "ssh_user": "ubuntu",
    }


@pytest.mark.parametrize("name", GIVEN)
def test_without_anybody_to_ask_what_lacks_is_an_error_that_names_the_option(name: str) -> None:
    with pytest.raises(BadInputError, match=rf"^not given: --{name.replace('_', '-')} \([^;]*\)$"):
        collect("aws", {**GIVEN, name: None}, None, nothing)


def test_all_that_lack_are_named_at_once() -> None:
    with pytest.raises(BadInputError) as caught:
        collect("local", {}, None, nothing)
    assert [part.split()[0] for part in str(caught.value).removeprefix("not given: ").split("; ")] == [
        "--head",
        "--workers",
        "--ssh-user",
        "--ssh-key",
    ]


def test_a_suggestion_serves_and_knows_the_answers_before_it() -> None:
    def suggest(question: SetupQuestion, answers: Answers) -> str | None:
        return "ami-00000000" if question.name == "image" and answers["region"] == "us-west-2" else None

    assert collect("aws", {**GIVEN, "image": None}, None, suggest)["image"] == "ami-00000000"
    assert collect("aws", GIVEN, None, suggest)["image"] == GIVEN["image"]


def test_a_person_is_asked_for_all_that_was_not_given_with_its_default() -> None:
    asked = {}

    def ask(question: SetupQuestion, default: str | None, checked: Callable[[str], Value]) -> Value:
        asked[question.name] = default
        return checked(default or "us-west-2b")

    answers = collect("aws", {**GIVEN, "zone": None}, ask, nothing)
    assert answers["zone"] == "us-west-2b"
    assert asked == {
        "zone": None,
        "instance_type": "g5.2xlarge",
        "max_workers": "16",
        "market": "spot",
        "cluster_name": "sweep",
        "ssh_user": "ubuntu",
    }


def test_an_answer_that_contradicts_an_earlier_one_is_refused_when_it_is_given() -> None:
    def ask(question: SetupQuestion, default: str | None, checked: Callable[[str], Value]) -> Value:
        with pytest.raises(BadInputError, match="another region"):
            checked("us-east-1a")
        return checked("us-west-2c")

    answers = collect("aws", {**GIVEN, "zone": None, "market": "spot"}, _only("zone", ask), nothing)
    assert answers["zone"] == "us-west-2c"


def _only(name: str, ask: Callable[..., Value]) -> Callable[..., Value]:
    def asks(question: SetupQuestion, default: str | None, checked: Callable[[str], Value]) -> Value:
        return ask(question, default, checked) if question.name == name else checked(str(default))

    return asks


def test_an_option_of_the_other_provider_is_refused() -> None:
    with pytest.raises(BadInputError, match="--head: doesn't apply to --provider aws"):
        collect("aws", {**GIVEN, "head": "10.0.0.1"}, None, nothing)
    with pytest.raises(BadInputError, match="--provider 'gcp': must be one of aws, local"):
        provider_of("gcp")
