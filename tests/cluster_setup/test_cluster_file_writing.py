"""The file that answers make of a template, by Ray's own validation, and reading files back."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cluster_answers import AWS, LOCAL
from support.paths import ROOT

from sweep.cluster.ray_private import cluster_file_error
from sweep.cluster_setup.cluster_file import MARK, filled, read, template, write
from trainables.errors import BadInputError


def comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if "#" in line]


def test_the_checkouts_files_are_the_templates() -> None:
    assert (ROOT / "cluster.yaml").read_text() == template("aws")
    assert (ROOT / "cluster.local.yaml").read_text() == template("local")


@pytest.mark.parametrize(("provider", "answers"), [("aws", AWS), ("local", LOCAL)])
def test_ray_accepts_it_nothing_is_left_to_change_and_comments_stay(provider: str, answers: dict[str, Any]) -> None:
    text = filled(provider, answers)
    assert MARK not in text
    assert cluster_file_error(yaml.safe_load(text)) == ""
    bare = {comment.strip() for comment in comments(template(provider)) if MARK not in comment}
    assert bare <= {comment.strip() for comment in comments(text)}


def test_answers_stand_in_every_place_and_nothing_else_differs() -> None:
    wanted = yaml.safe_load(template("aws"))
    wanted["cluster_name"] = "other"
    wanted["max_workers"] = wanted["available_node_types"]["gpu"]["max_workers"] = 4
    wanted["provider"] |= {"region": "eu-central-1", "availability_zone": "eu-central-1b"}
    wanted["auth"]["ssh_user"] = "me"
    head, gpu = (wanted["available_node_types"][name]["node_config"] for name in ("head", "gpu"))
    head["ImageId"] = gpu["ImageId"] = AWS["image"]
    head["SecurityGroupIds"] = gpu["SecurityGroupIds"] = [AWS["security_group"]]
    gpu["InstanceType"] = "g6.xlarge"
    assert yaml.safe_load(filled("aws", AWS)) == wanted
    del gpu["InstanceMarketOptions"]
    assert yaml.safe_load(filled("aws", {**AWS, "market": "on-demand"})) == wanted


def test_a_comment_keeps_its_column_and_names_the_bucket() -> None:
    (line,) = (line for line in filled("aws", AWS).splitlines() if line.strip().startswith("region:"))
    (before,) = (line for line in template("aws").splitlines() if line.strip().startswith("region:"))
    assert line.index("#") == before.index("#")
    assert line.endswith("# where the bucket my-sweeps is")


def test_own_machines_stand_in_the_local_file() -> None:
    config = yaml.safe_load(filled("local", LOCAL))
    assert config["provider"] == {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2", "gpu-2"]}
    assert config["auth"] == {"ssh_user": "me", "ssh_private_key": "~/.ssh/key"}


def test_what_yaml_would_take_for_something_else_is_quoted() -> None:
    config = yaml.safe_load(filled("local", {**LOCAL, "cluster_name": "no", "ssh_key": "a: b # c"}))
    assert config["cluster_name"] == "no"
    assert config["auth"]["ssh_private_key"] == "a: b # c"


def test_a_file_is_replaced_when_it_is_asked_for_and_a_links_target_never(tmp_path: Path) -> None:
    target, link = tmp_path / "template.yaml", tmp_path / "cluster.yaml"
    target.write_text("theirs")
    link.symlink_to(target)
    with pytest.raises(BadInputError, match="--overwrite"):
        write(link, "mine", overwrite=False)
    assert link.read_text() == "theirs"
    write(link, "mine", overwrite=True)
    assert (link.read_text(), target.read_text()) == ("mine", "theirs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cluster.yaml", "template.yaml"]
    with pytest.raises(BadInputError, match="its folder doesn't exist"):
        write(tmp_path / "none" / "a.yaml", "mine", overwrite=False)


@pytest.mark.parametrize(
    ("content", "why"),
    [("a: [", "isn't YAML"), ("- a", "isn't a cluster file"), ("provider: aws", "isn't a cluster file")],
)
def test_what_is_no_cluster_file_is_one_error(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(BadInputError, match=why) as caught:
        read(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)


def test_what_ray_would_refuse_is_named_and_the_file_left_as_it_is() -> None:
    config = yaml.safe_load(filled("aws", AWS))
    before = copy.deepcopy(config)
    assert cluster_file_error(config) == ""
    assert config == before
    assert "'idle' was unexpected" in str(cluster_file_error({**config, "idle": 5}))
    assert str(cluster_file_error({**config, "max_workers": "x"})).startswith("max_workers: 'x'")
    local = yaml.safe_load(filled("local", LOCAL))
    del local["provider"]["head_ip"]
    assert "head_ip" in str(cluster_file_error(local))
