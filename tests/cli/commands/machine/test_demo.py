"""``photon-gpu demo``: the command around :func:`photon_gpu.tools.demo.demo`."""

import json

import pytest

from tests.support.folder_contents import tree

_SMALL = ["--frames", 20, "--size", 32]


def test_the_demo_prints_its_report_and_leaves_a_picture(cli, tmp_path):
    ran = cli(
        "demo", "here", *_SMALL, "--gain", 20, "--offset", 10, "--read-noise", 5, "--photons", 3, "--json"
    )
    assert ran.code == 0, ran.err
    told = ran.json
    assert told["simulation"]["frames"] == 20
    assert (told["noise"]["gain"], told["noise"]["offset"]) == (20.0, 10.0)
    assert {row["layout"] for row in told["rows"]} == {"plain", "compact", "lossless"}
    assert (tmp_path / "here" / "demo.png").read_bytes().startswith(b"\x89PNG")
    shown = cli("demo", "here", *_SMALL)
    assert shown.code == 0
    assert all(word in shown.out for word in ("compact", "lossless", "every pixel checked"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["full"], "full"),
        (["x", "--frames", "0"], "frames is 0"),
        (["x", "--photons", "-1"], "photons is -1"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(words, message, cli, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    before = tree(tmp_path)
    ran = cli("demo", *words, "--json")
    assert (ran.code, ran.out) == (2, "")
    assert message in json.loads(ran.err)["error"]
    assert tree(tmp_path) == before
