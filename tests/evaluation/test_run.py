import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from apollo.cli.evaluate import sides
from apollo.errors import ApolloError, DataError, StoppedError
from apollo.evaluation import run as module
from apollo.evaluation.report.sentences import grouped
from apollo.evaluation.results import Condition, Failure
from apollo.evaluation.run import SCOREBOOK, run_evaluation
from apollo.evaluation.systems import Settings

SAMPLE_RATE = 44_100
TINY_MODEL = str(Path(__file__).parents[1] / "golden" / "apollo-tiny.msst.ckpt")


@pytest.fixture
def folder(tmp_path: Path, chords: np.ndarray) -> Path:
    (tmp_path / "music").mkdir()
    for number in range(2):
        soundfile.write(tmp_path / "music" / f"{number}.wav", chords[:, : 70_000 + number].T, SAMPLE_RATE)
    return tmp_path / "music"


def console() -> Console:
    return Console(file=io.StringIO(), width=80)


def test_everything_is_written_and_told(folder: Path, tmp_path: Path) -> None:
    report, out = tmp_path / "report", console()
    (folder / "broken.flac").write_bytes(b"no audio")
    result = run_evaluation(
        folder,
        Settings([TINY_MODEL], metrics=("si_sdr", "lsd")),
        bitrates=(64,),
        output=report,
        command="apollo evaluate x",
        console=out,
    )
    text = re.sub(r"\s+", " ", out.file.getvalue())  # type: ignore[attr-defined]
    assert "3 recordings" in text
    assert "Not evaluated: broken.flac (MP3 64 kbit/s)" in text
    for name in ("report.html", "report.md", "report.json", "scores.csv", SCOREBOOK):
        assert (report / name).stat().st_size > 100, name
    told = json.loads((report / "report.json").read_text())
    assert told["made"]["command"] == "apollo evaluate x"
    assert len(result.scores) == 4


def test_nothing_is_written_unless_asked(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    run_evaluation(folder, Settings(metrics=("si_sdr",)), bitrates=(64,), console=console())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_report_that_cannot_be_written_is_known_before_the_work(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="give another folder"):
        run_evaluation(folder, Settings(), output=tmp_path / "file", console=console())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(metrics=("sdrr",)), "There is no metric 'sdrr'; did you mean 'sdr'"),
        (Settings(["defalt"]), "defalt"),
        (Settings([TINY_MODEL], device="cudda"), "cudda"),
    ],
)
def test_what_is_not_known_is_refused_before_the_music_is_looked_through(settings: Settings, message: str) -> None:
    with pytest.raises(ApolloError, match=message):
        run_evaluation(Path("nowhere"), settings, console=console())


def test_ctrl_c_says_what_is_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = module.evaluate

    def interrupted(*arguments: object, progress: object, **options: object) -> None:
        def stop(done: int, total: int, piece: str) -> None:
            progress(done, total, piece)  # type: ignore[operator]
            if done == 1:
                raise KeyboardInterrupt

        evaluate(*arguments, progress=stop, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "evaluate", interrupted)
    with pytest.raises(StoppedError, match="1 of 2 cases are kept") as stopped:
        run_evaluation(
            folder, Settings(metrics=("si_sdr",)), bitrates=(64,), output=tmp_path / "report", console=console()
        )
    assert stopped.value.code == 130


def printed(out: Console) -> str:
    return re.sub(r"\s+", " ", out.file.getvalue())  # type: ignore[attr-defined]


def test_quiet_leaves_tables_warnings_and_failures(folder: Path) -> None:
    loud, quiet = console(), console()
    (folder / "broken.flac").write_bytes(b"no audio")
    for out in (loud, quiet):
        run_evaluation(folder, Settings(metrics=("si_sdr",)), bitrates=(64,), console=out, quiet=out is quiet)
    assert "3 recordings, used as undamaged originals" in printed(loud)
    assert "scores in" in printed(loud)
    for expected, kept in (("SI-SDR", True), ("Not evaluated", True), ("recordings", False), ("scores in", False)):
        assert (expected in printed(quiet)) == kept, expected


def test_two_folders_of_any_name_are_pairs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mp3").mkdir()
    for number in range(2):
        samples, rate = soundfile.read(folder / f"{number}.wav")
        soundfile.write(tmp_path / "mp3" / f"{number}.mp3", samples, rate, format="MP3")
    out = console()
    result = run_evaluation(folder, Settings(metrics=("si_sdr",)), damaged=tmp_path / "mp3", console=out)
    assert result.pieces == ["0.wav", "1.wav"]
    assert not result.failures
    assert f"originals in {folder}, damaged versions in {tmp_path / 'mp3'}".replace(" ", "") in printed(out).replace(
        " ", ""
    )


def test_what_failed_alike_is_one_sentence() -> None:
    def failures(count: int, reason: str, system: str = "") -> list[Failure]:
        return [Failure(f"{n}.wav", Condition("mp3", 64), system, reason) for n in range(count)]

    found = grouped([*failures(5, "there is no folder x", "theirs"), *failures(1, "it is broken")])
    assert found == [
        "5 pieces of theirs: there is no folder x (0.wav, 1.wav, 2.wav and 2 more)",
        "0.wav (MP3 64 kbit/s): it is broken",
    ]


@pytest.mark.parametrize(
    "places", [(None, None, None), ("a", "b", "c"), ("a", None, "b"), (None, "a", None), (None, None, "a")]
)
def test_places_that_do_not_fit_together_are_refused(places: tuple[str | None, ...]) -> None:
    with pytest.raises(ApolloError, match="--original DIR --damaged DIR"):
        sides(*places)
