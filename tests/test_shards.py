"""Shares of a list hold everything once, stay what they are, and their reports come together again."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from apollo.audio import degrade
from apollo.checkpoints import save_model
from apollo.cli import main
from apollo.errors import ApolloError
from apollo.nn import Apollo
from apollo.shards import Shard

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def apollo(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["apollo", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out + output.err

    return apollo


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 30_000)).astype(np.float32)
    coded = degrade(noise, 44100, "mp3", 64_000)
    (tmp_path / "songs").mkdir()
    for number in range(5):
        soundfile.write(tmp_path / "songs" / f"{number}.wav", coded.T, 44100)
    return tmp_path / "songs"


@settings(deadline=None)
@given(st.lists(st.text()), st.lists(st.text()), st.integers(1, 20))
def test_every_item_is_in_one_share_whatever_else_there_is(names: list[str], more: list[str], count: int) -> None:
    shards = [Shard(number, count) for number in range(1, count + 1)]
    shares = [shard.of(names, str) for shard in shards]
    assert sorted(name for share in shares for name in share) == sorted(names)
    with_more = [shard.of(names + more, str) for shard in shards]
    assert all(bigger[: len(share)] == share for share, bigger in zip(shares, with_more, strict=True))


def test_shares_are_the_same_on_every_machine_and_about_equally_large() -> None:
    names = [f"songs/{number:05}.mp3" for number in range(16_000)]
    sizes = [len(Shard(number, 16).of(names, str)) for number in range(1, 17)]
    assert min(sizes) > 850
    assert max(sizes) < 1150
    assert Shard(3, 16).of(names[:60], str) == ["songs/00011.mp3", "songs/00024.mp3", "songs/00043.mp3"]


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "1/2/3", "a/b", "1.5/4", "²/4", "1/4\n"])
def test_what_is_no_share_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ApolloError, match="such as 3/16"):
        Shard.parse(text)


def test_shares_of_a_folder_are_restored_each_and_their_reports_merge(run: Run, songs: Path, tmp_path: Path) -> None:
    save_model(Apollo(win=100, feature_dim=16, layer=1, output="residual"), tmp_path / "model.safetensors")
    command = ("restore", songs, "-o", tmp_path / "out", "-m", tmp_path / "model.safetensors", "--force")
    reports = [tmp_path / f"{number}.json" for number in range(1, 4)]
    for number, report in enumerate(reports, 1):
        assert run(*command, "--shard", f"{number}/3", "--json", report)[0] == 0
    assert len(list((tmp_path / "out").iterdir())) == 5
    code, said = run("report", "merge", *reports, "-o", tmp_path / "all.json")
    assert code == 0, said
    assert "5 of 5 files (5 restored)" in said
    whole = json.loads((tmp_path / "all.json").read_text())
    assert [Path(file["source"]).name for file in whole["files"]] == [f"{number}.wav" for number in range(5)]
    assert (whole["planned"], whole["counts"]["restored"]) == (5, 5)

    # A share that is run once more has nothing left to do, and hides nothing of what was done.
    again = tmp_path / "again.json"
    assert run(*command, "--shard", "1/3", "--json", again)[0] == 0
    assert run("report", "merge", *reports, again, "-o", tmp_path / "all.json")[0] == 1  # it exists already
    assert run("report", "merge", *reports, again, "-o", tmp_path / "all.json", "--overwrite")[0] == 0
    assert json.loads((tmp_path / "all.json").read_text()) == whole

    other = json.loads(reports[1].read_text()) | {"mix": 0.5}
    again.write_text(json.dumps(other))
    code, said = run("report", "merge", reports[0], again, "-o", tmp_path / "mixed.json")
    assert code == 1
    assert "mix" in said
    assert not (tmp_path / "mixed.json").exists()


def test_shares_of_an_evaluation_merge_to_the_scores_of_the_whole(run: Run, songs: Path, tmp_path: Path) -> None:
    tiny = Path(__file__).parent / "golden" / "apollo-tiny.msst.ckpt"
    command = ("evaluate", songs, "-m", tiny, "--bitrates", "64", "--metrics", "si_sdr,lsd", "--workers", "1")
    assert run(*command, "-o", tmp_path / "whole")[0] == 0
    # More shares than pieces: some of them are empty.
    for number in range(1, 9):
        code, said = run(*command, "-o", tmp_path / "shares" / str(number), "--shard", f"{number}/8")
        assert code == 0, said
    reports = sorted((tmp_path / "shares").glob("*/report.json"))
    assert len(reports) == 8
    code, said = run("report", "merge", *reports, "-o", tmp_path / "merged")
    assert code == 0, said
    scores = [(tmp_path / name / "scores.csv").read_text() for name in ("whole", "merged")]
    assert scores[0] == scores[1]
    averages = [json.loads((tmp_path / name / "report.json").read_text())["averages"] for name in ("whole", "merged")]
    assert averages[0] == averages[1]
    assert (tmp_path / "merged" / "report.html").exists()
    assert run("report", "merge", *reports, "-o", tmp_path / "merged")[0] == 1  # nothing is replaced unasked


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"apollo": "1"}', '{"apollo": "1", "files": 3}', "[" * 100_000])
def test_what_is_no_report_is_refused_in_one_sentence(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    code, said = run("report", "merge", tmp_path / "bad.json", "-o", tmp_path / "out.json")
    assert code == 1
    assert "bad.json" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out.json").exists()
