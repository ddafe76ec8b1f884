"""What an answer has to be."""

from pathlib import Path

import pytest

from sweep.cluster_setup.questions import AWS, LOCAL, QUESTIONS, agree
from trainables.errors import BadInputError

BY_NAME = {question.name: question for questions in (AWS, LOCAL) for question in questions}


@pytest.mark.parametrize(
    ("name", "answer", "value"),
    [
        ("region", "us-gov-west-1", "us-gov-west-1"),
        ("zone", " eu-central-1b ", "eu-central-1b"),
        ("zone", "us-west-2-lax-1a", "us-west-2-lax-1a"),
        ("bucket", "my.sweeps-2", "my.sweeps-2"),
        ("instance_type", "p4d.24xlarge", "p4d.24xlarge"),
        ("max_workers", "4", 4),
        ("market", "on-demand", "on-demand"),
        ("image", "ami-0123456789abcdef0", "ami-0123456789abcdef0"),
        ("image", "ami-03cf127a", "ami-03cf127a"),
        ("security_group", "sg-0123456789abcdef0", "sg-0123456789abcdef0"),
        ("cluster_name", "my-sweep", "my-sweep"),
        ("head", "10.0.0.1", "10.0.0.1"),
        ("head", "fe80::1", "fe80::1"),
        ("head", "gpu-1.example.org", "gpu-1.example.org"),
        ("workers", "10.0.0.2, gpu-2", ["10.0.0.2", "gpu-2"]),
        ("ssh_user", "ubuntu", "ubuntu"),
    ],
)
def test_an_answer_that_is_right_becomes_a_value(name: str, answer: str, value: object) -> None:
    assert BY_NAME[name].value_of(answer) == value


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("region", "oregon"),
        ("region", "us-west-2a"),
        ("zone", "us-west-2"),
        ("bucket", "s3://my-sweeps"),
        ("bucket", "My-sweeps"),
        ("bucket", "ab"),
        ("bucket", "a" * 64),
        ("bucket", "my..sweeps"),
        ("bucket", "-sweeps"),
        ("bucket", "192.168.5.4"),
        ("bucket", "xn--sweeps"),
        ("bucket", "sweeps-s3alias"),
        ("instance_type", "g5"),
        ("max_workers", "0"),
        ("max_workers", "-1"),
        ("max_workers", "1.5"),
        ("max_workers", "many"),
        ("market", "cheap"),
        ("image", "ami-CHANGE"),
        ("image", "ami-12"),
        ("security_group", "sweep"),
        ("cluster_name", "My sweep"),
        ("head", "10.0.0.256"),
        ("head", "gpu_1"),
        ("head", "user@gpu"),
        ("head", ""),
        ("workers", ""),
        ("workers", "gpu-1,gpu-1"),
        ("ssh_user", "root; reboot"),
        ("ssh_key", "/nowhere/key"),
    ],
)
def test_a_wrong_answer_is_one_error_that_names_option_and_answer(name: str, answer: str) -> None:
    with pytest.raises(BadInputError) as caught:
        BY_NAME[name].value_of(answer)
    assert str(caught.value).startswith(f"{BY_NAME[name].option} {answer!r}: ")


def test_the_public_half_of_a_key_is_refused_and_the_private_one_kept_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("key", "key.pub"):
        (tmp_path / name).touch()
    assert BY_NAME["ssh_key"].value_of("~/key") == "~/key"
    with pytest.raises(BadInputError, match=r"give ~/key$"):
        BY_NAME["ssh_key"].value_of("~/key.pub")


def test_answers_that_contradict_each_other_are_refused() -> None:
    agree({"region": "us-west-2", "zone": "us-west-2c"})
    with pytest.raises(BadInputError, match="--zone 'us-east-1a': is in another region than --region 'us-west-2'"):
        agree({"region": "us-west-2", "zone": "us-east-1a"})
    with pytest.raises(BadInputError, match="--workers: include the head node, gpu-1"):
        agree({"head": "gpu-1", "workers": ["gpu-1", "gpu-2"]})


def test_every_answer_but_the_bucket_has_a_place_in_the_file() -> None:
    for questions in QUESTIONS.values():
        assert {question.name for question in questions if not question.places} <= {"bucket"}
