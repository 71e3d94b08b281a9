import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from apollo.nn import Apollo
from apollo.restoration import Restorer
from apollo.web.job import Job, Wish
from apollo.web.page import results_html, status_html
from apollo.web.workspace import Room, Workspace

RATE = 44_100


@pytest.fixture
def room(tmp_path: Path) -> Room:
    (tmp_path / "work").mkdir()
    with Workspace(tmp_path / "work").room() as room:
        return room


def restorer(wish: Wish) -> Restorer:
    return Restorer(Apollo(feature_dim=16, layer=1, output="residual"), 1, mix=wish.mix, keep_below=wish.keep_below)


def song(path: Path, seconds: float = 2.0) -> Path:
    noise = 0.1 * np.random.default_rng(0).standard_normal((int(seconds * RATE), 2))
    soundfile.write(path, noise, RATE)
    return path


def test_bad_songs_do_not_stop_the_others_and_no_message_tells_folders(room: Room, tmp_path: Path) -> None:
    good = song(tmp_path / "good <b>.wav")
    broken, again = tmp_path / "broken.mp3", tmp_path / "again"
    broken.write_text("no music")
    again.mkdir()
    shutil.copy(good, again / good.name)
    job = Job(room, [broken, good, again / good.name], Wish("m", force=True), restorer)
    *_, state = job.run()
    assert [result.outcome.status for result in state.results] == ["failed", "restored", "restored"]
    assert state.results[0].message.startswith("broken.mp3 ")
    assert [result.outcome.task.target.name for result in state.results[1:]] == [
        "good _b_.restored.flac",
        "good _b_-2.restored.flac",
    ]
    for language in ("en", "zh"):
        shown = status_html(state, language) + results_html(state, room, language)
        assert str(tmp_path) not in shown
        assert "<b>.wav" not in shown
        assert f"apollo/{room.token}/all.zip" in shown
    assert set(room.players) == {1, 2}
    assert str(tmp_path) not in "".join(room.players.values())
    served = [name for name in room.served if name.startswith("player/1/")]
    assert {Path(name).suffix for name in served} == {".flac", ".png"}
    assert all(f'src="apollo/{room.token}/{name}"' in room.players[1] for name in served)


def test_undamaged_songs_are_passed_over_unless_told_otherwise(room: Room, tmp_path: Path) -> None:
    *_, state = Job(room, [song(tmp_path / "clean.wav")], Wish("m"), restorer).run()
    [result] = state.results
    assert result.outcome.status == "undamaged"
    assert result.message.startswith("clean.wav: nothing to restore")
    assert "--force" not in result.message
    assert "nothing to restore" in results_html(state, room, "en")


def test_cancelling_stops_and_leaves_nothing_half_done(room: Room, tmp_path: Path) -> None:
    class Impatient(Job):
        def _go_on(self, number: int, name: str, phase: str, *seconds: float) -> None:
            super()._go_on(number, name, phase, *seconds)
            if phase == "restoring":
                self.cancel()

    songs = [song(tmp_path / "a.wav", 8), song(tmp_path / "b.wav")]
    *_, state = Impatient(room, songs, Wish("m", force=True), restorer).run()
    assert state.cancelled
    assert 0 < state.done < 8
    assert state.results == []
    assert {path.name for path in room.folder.rglob("*") if path.is_file()} == {"a.wav", "b.wav"}


def test_what_cannot_be_is_said_in_a_sentence(room: Room, tmp_path: Path) -> None:
    for wish, words in (
        (Wish("m", mix=2), "mix must be from 0"),
        (Wish("m", keep_below=-5), "keep_below must be"),
        (Wish("m", file_format="exe"), "there is no format 'exe'"),
    ):
        shutil.rmtree(room.folder / "songs", ignore_errors=True)
        *_, state = Job(room, [song(tmp_path / "a.wav", 0.1)], wish, restorer).run()
        assert words in state.error
        assert words.split("'")[0] in status_html(state, "en")
    shutil.rmtree(room.folder / "songs", ignore_errors=True)
    *_, state = Job(room, [tmp_path / "gone.wav"], Wish("m"), restorer).run()
    assert state.error == "gone.wav is no longer here: upload it again"
