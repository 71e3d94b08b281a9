"""`apollo restore` does with folders, pipes and paths of all kinds what its guide says."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from rich.cells import cell_len
from rich.filesize import decimal

import apollo.restoration
from apollo.atomic import claimed
from apollo.audio import degrade, read, write
from apollo.checkpoints import save_model
from apollo.cli import main
from apollo.errors import ApolloError
from apollo.nn import Apollo

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained residual network, which changes nothing."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(Apollo(win=100, feature_dim=16, layer=1, output="residual"), path)
    return path


@pytest.fixture(scope="module")
def coded() -> np.ndarray:
    """What MP3 leaves of noise."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 30_000))
    return degrade(noise.astype(np.float32), 44100, "mp3", 64_000)


@pytest.fixture
def album(tmp_path: Path, coded: np.ndarray) -> Path:
    folder = tmp_path / "album"
    (folder / "disc 2").mkdir(parents=True)
    write(folder / "a.mp3", coded, 44100)
    write(folder / "b.wav", coded, 44100)
    write(folder / "disc 2" / "歌 é.flac", coded, 44100)
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path) -> Run:
    def restore(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["apollo", "restore", "-m", str(model), *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        output = capsys.readouterr()
        return int(left.value.code or 0), output.out, output.err

    return restore


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_the_default_model_skips_what_it_can_hardly_help(
    run: Run, tmp_path: Path, coded: np.ndarray, chords: np.ndarray
) -> None:
    for bitrate in (128, 192):
        write(tmp_path / f"{bitrate}.mp3", coded, 44100, bitrate=1000 * bitrate)
    write(tmp_path / "96.opus", coded, 44100, bitrate=96_000)
    soundfile.write(tmp_path / "q5.ogg", coded.T, 44100, format="OGG", subtype="VORBIS", compression_level=0.5)
    for bitrate in (96, 256):  # in a lossless file, which tells no bitrate
        write(tmp_path / f"inside {bitrate}.flac", degrade(chords, 44100, "mp3", 1000 * bitrate)[:, 777:], 44100)
    code, said, errors = run("-m", "default", tmp_path, "-o", tmp_path / "out")
    assert code == 0, errors
    assert "inside 256.flac: lossy: MP3 inside this FLAC; the default model can hardly help; use --force" in said
    assert "192.mp3: lossy: MP3 at 192 kbit/s; the default model can hardly help; use --force" in said
    assert said.count("can hardly help") == 4
    assert files(tmp_path / "out") == ["128.restored.flac", "inside 96.restored.flac"]
    assert run("-m", "default", tmp_path / "192.mp3", "-o", tmp_path / "forced", "--force")[0] == 0
    assert run(tmp_path / "192.mp3", "-o", tmp_path / "other")[0] == 0  # other models may be made for that
    assert files(tmp_path / "forced") == files(tmp_path / "other") == ["192.restored.flac"]


def test_second_run_passes_over_what_is_finished(album: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    (album / "bad.mp3").write_bytes(b"ID3 no sound" * 50)
    code, said, errors = run(album, "-o", out)
    assert code == 1
    assert errors.count("\n") == 1
    results = ["a.restored.flac", "b.restored.flac", "disc 2/歌 é.restored.flac"]
    assert files(out) == results
    assert "Restored 3 of 4 files." in said
    (album / "bad.mp3").unlink()
    before = {name: (out / name).stat().st_mtime_ns for name in results}
    (out / "b.restored.flac").write_bytes((out / "b.restored.flac").read_bytes()[:20_000])  # cut off: not finished
    code, said, errors = run(album, "-o", out)
    assert (code, said.count("finished already:")) == (1, 2)
    assert "b.restored.flac exists already: use --overwrite" in errors
    assert all((out / name).stat().st_mtime_ns == before[name] for name in results if not name.startswith("b"))
    code, said, _ = run(album, "-o", out, "--overwrite")
    assert (code, "Restored 3 of 3" in said) == (0, True)
    assert soundfile.info(out / "b.restored.flac").frames == 30_000


def test_report_says_what_became_of_every_file(album: Path, tmp_path: Path, run: Run) -> None:
    (album / "empty.wav").touch()
    report = tmp_path / "report.json"
    assert run(album, "-o", tmp_path / "out", "--json", report, "--mix", 0.5)[0] == 1
    content = json.loads(report.read_text(encoding="utf-8"))
    assert (content["planned"], content["mix"], content["device"] in ("cpu", "cuda", "mps")) == (4, 0.5, True)
    assert content["counts"] == {"restored": 3, "finished": 0, "undamaged": 0, "failed": 1}
    statuses = {Path(file["source"]).name: file["status"] for file in content["files"]}
    assert statuses == {"a.mp3": "restored", "b.wav": "restored", "歌 é.flac": "restored", "empty.wav": "failed"}
    assert run(album, "--json", tmp_path / "no" / "folder.json")[2].count("cannot be written") == 1


def test_what_was_chosen_and_lost_is_told_once_and_stands_in_the_report(
    tmp_path: Path, coded: np.ndarray, run: Run
) -> None:
    damaged = tmp_path / "damaged.flac"
    write(damaged, coded, 44100)
    data = damaged.read_bytes()
    damaged.write_bytes(data[: len(data) // 2] + bytes(5_000) + data[len(data) // 2 + 5_000 :])
    tracks = tmp_path / "film.mka"
    with av.open(str(tracks), "w") as container:
        streams = [container.add_stream("flac", rate=44100, layout=layout) for layout in ("stereo", "mono")]
        for stream, layout in zip(streams, ("stereo", "mono"), strict=True):
            shorts = np.zeros((1, 30_000 * (2 if layout == "stereo" else 1)), np.int16)
            frame = av.AudioFrame.from_ndarray(shorts, "s16", layout)
            frame.sample_rate, frame.pts, frame.time_base = 44100, 0, Fraction(1, 44100)
            container.mux([*stream.encode(frame), *stream.encode(None)])
    report = tmp_path / "report.json"
    code, _, errors = run(damaged, tracks, "--track", 1, "--force", "--json", report)
    assert code == 0
    assert errors.count("damaged.flac is damaged: about") == 1
    assert errors.count("film.mka has 2 audio tracks: track 1 was read") == 1
    lossy, film = (file["remarks"] for file in json.loads(report.read_text(encoding="utf-8"))["files"])
    ((place, seconds),) = lossy["damage"]
    assert 0.1 < place < place + seconds < 0.6
    assert (film["track"], film["tracks"], film["damage"]) == (1, 2, [])
    code, _, errors = run(tracks, "--track", 2, "--force")
    assert code == 1
    assert "use --overwrite" in errors
    assert run(tracks, "--track", 2, "--force", "--overwrite")[0] == 0
    assert soundfile.info(tmp_path / "film.restored.flac").channels == 1
    assert "so there is no track 3" in run(tracks, "--track", 3, "--force", "--overwrite")[2]


def test_dry_run_tells_what_would_become_of_every_file_and_does_nothing(
    album: Path, run: Run, music: np.ndarray
) -> None:
    assert run(album / "b.wav", "--force")[0] == 0
    write(album / "clean.flac", music, 44100)
    (album / "bad.mp3").write_bytes(b"ID3 no sound" * 50)
    before = files(album)
    code, said, errors = run(album, "--dry-run")
    assert (code, errors.count("\n"), files(album)) == (1, 1, before)
    size = decimal((album / "a.mp3").stat().st_size)
    assert f"{album / 'a.mp3'} → {album / 'a.restored.flac'}: {size}, 0:01, lossy: MP3 at" in said
    assert f"{album / 'b.restored.flac'} is finished already" in said
    assert f"{album / 'clean.flac'}: nothing to restore" in said
    assert "Would restore 2 of 5 files, 0:01 of audio." in said
    assert "leave out one of the two" in run(album, "--dry-run", "--json", album / "x.json")[2]


def test_result_tells_its_source_and_how_far_up_it_reaches(album: Path, tmp_path: Path, run: Run) -> None:
    _, said, _ = run(album / "a.mp3", "--json", tmp_path / "x.json")
    content = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    (entry,) = content["files"]
    assert re.search(r", from mp3 at \d+ kbit/s, cut-off \d+\.\d kHz", said)
    assert re.fullmatch(r"mp3 at \d+ kbit/s", entry["source_coding"])
    assert entry["cutoff_hz"] == pytest.approx(11_000, rel=0.1)  # LAME's low-pass at 64 kbit/s
    assert entry["restored_cutoff_hz"] == pytest.approx(entry["cutoff_hz"], rel=0.02)
    assert entry["filled"] == pytest.approx(0, abs=0.02)
    assert entry["model"] == content["model_fingerprint"]
    assert f"({entry['model'][:8]})" in said


def test_on_a_narrow_terminal_paths_lose_their_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    from apollo.cli.restoring import fitted

    path = Path("a long folder of music") / "歌歌歌歌歌歌歌歌歌歌歌歌 a long name.flac"
    assert fitted(path) == str(path)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert fitted(Path("song.mp3")) == "song.mp3"
    cut = fitted(path)
    assert cell_len(cut) <= 28
    assert (cut[:6], cut[-5:], cut.count("…")) == ("a long", ".flac", 1)


def test_a_report_replaces_nothing_but_an_earlier_report(album: Path, tmp_path: Path, run: Run) -> None:
    keep = tmp_path / "keep.json"
    keep.write_text("mine")
    code, _, errors = run(album / "a.mp3", "-o", tmp_path / "out", "--json", keep)
    assert code == 1
    assert "keep.json exists already" in errors
    assert keep.read_text() == "mine"
    assert not (tmp_path / "out").exists()
    assert run(album / "a.mp3", "-o", tmp_path / "out", "--json", keep, "--overwrite")[0] == 0
    assert json.loads(keep.read_text())["counts"]["restored"] == 1
    assert run(album / "a.mp3", "-o", tmp_path / "out", "--json", keep)[0] == 0  # the same command goes on
    assert json.loads(keep.read_text())["counts"]["finished"] == 1


def test_what_another_run_is_at_is_left_to_it(album: Path, run: Run) -> None:
    target = album / "a.restored.flac"
    with claimed(target):
        code, said, errors = run(album / "a.mp3")
    assert (code, errors) == (0, "")
    assert f"{target} is being made by another run of Apollo" in said
    assert not target.exists()
    assert run(album / "a.mp3")[0] == 0
    assert target.exists()
    assert "a.restored.flac" in files(album)
    assert not list(album.glob(".*"))


def test_a_result_that_appears_meanwhile_is_kept(album: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    target, forward = album / "a.restored.flac", Apollo.forward

    def slow(self: Apollo, *arguments: Any) -> torch.Tensor:
        target.write_text("mine")
        return forward(self, *arguments)

    monkeypatch.setattr(Apollo, "forward", slow)
    code, _, errors = run(album / "a.mp3")
    assert code == 1
    assert f"{target} exists already" in errors
    assert target.read_text() == "mine"
    assert not list(album.glob(".*"))


def test_music_without_damage_is_passed_over_unless_forced(tmp_path: Path, music: np.ndarray, run: Run) -> None:
    write(tmp_path / "pure.flac", music, 44100)
    code, said, _ = run(tmp_path / "pure.flac")
    assert code == 0
    assert "nothing to restore" in said
    assert "--force" in said
    assert files(tmp_path) == ["pure.flac"]
    assert run(tmp_path / "pure.flac", "--force")[0] == 0
    assert files(tmp_path) == ["pure.flac", "pure.restored.flac"]


@pytest.mark.parametrize("file_format", ["wav", "mp3", "m4a", "opus"])
def test_formats_name_their_files(album: Path, run: Run, file_format: str) -> None:
    assert run(album / "a.mp3", "--format", file_format)[0] == 0
    assert abs(read(album / f"a.restored.{file_format}")[0].shape[1] - 33_000) < 4000


def test_options_that_do_not_fit_are_refused_before_anything_is_done(album: Path, run: Run) -> None:
    before = files(album)
    for options in (
        ("--format", "mp4"),
        ("--format", "mp3", "--bits", 16),
        ("--bits", "float", "--format", "flac"),
        ("--sample-rate", 48000),
        ("--clip", "never"),
        ("--mix", 2),
        ("--keep-below", 10),
        ("--precision", "8"),
        ("--batch", "many"),
        ("--batch", 0),
        ("--compile", "always"),
        ("-o", album / "x.mp3", "--format", "wav"),
        ("-",),
        ("--raw", "s16le,44100,2"),
    ):
        code, _, errors = run(album / "a.mp3", *options)
        assert code == 1, options
        assert errors.startswith("Error: "), options
        assert errors.count("\n") == 1, options
    assert files(album) == before


def test_patterns_stand_for_what_they_match(album: Path, tmp_path: Path, run: Run) -> None:
    assert run(album / "*.mp3", "-o", tmp_path / "out")[0] == 0
    assert files(tmp_path / "out") == ["a.restored.flac"]
    assert "nothing matches" in run(album / "*.ogg")[2]
    code, said, errors = run(album / "*.ogg", album / "*.mp3", "-o", tmp_path / "out")
    assert (code, errors.count("nothing matches"), said.count("is finished already")) == (1, 1, 1)


def test_wav_goes_through_pipes(coded: np.ndarray, model: Path, run_fork: Callable[..., Any]) -> None:
    wav = io.BytesIO()
    soundfile.write(wav, coded.T, 44100, "PCM_24", format="WAV")
    command = ("-m", "apollo", "restore", "-", "-m", model)
    result = run_fork(*command, given=wav.getvalue(), encoding=None)
    assert result.returncode == 0
    choice, done = result.stderr.decode().splitlines()
    assert choice.endswith("on cpu in float32, chunks of 20 s")
    assert done.startswith("standard input → standard output: 0.7 s of audio")
    header, restored = result.stdout[:100], result.stdout
    assert header.count(b"RIFF") == 1
    start = restored.index(b"data") + 8
    samples = np.frombuffer(restored[start:], np.uint8).reshape(-1, 3)
    assert len(samples) == coded.size
    wide = np.zeros((len(samples), 4), np.uint8)
    wide[:, 1:] = samples
    assert np.abs(wide.view("<i4")[:, 0].reshape(-1, 2).T / 2.0**31 - coded).max() <= 2.0**-22


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_takes_no_more_is_one_sentence(
    coded: np.ndarray, model: Path, run_python: Callable[..., Any]
) -> None:
    wav = io.BytesIO()
    soundfile.write(wav, coded[:, :1000].T, 44100, "PCM_24", format="WAV")
    command = ("-m", "apollo", "restore", "-", "-m", model)
    with Path("/dev/full").open("wb") as full:
        result = run_python(*command, given=wav.getvalue(), encoding=None, stdout=full)
    assert (result.returncode, result.stderr.count(b"\n")) == (1, 1)
    assert result.stderr.startswith(b"Error: standard output cannot be written (No space left on device): free")


@pytest.mark.parametrize("stream", ["stdin", "stdout"])
def test_a_closed_standard_stream_is_one_sentence(
    stream: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["apollo", "restore", "-"])
    monkeypatch.setattr(sys, stream, None)  # as Python has it where a shell was told `>&-`
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert re.fullmatch(rf"Error: standard {stream[3:]}put is closed: [^\n]+\n", capfd.readouterr().err)


@pytest.fixture
def pipe(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], model: Path
) -> Callable[..., tuple[int, bytes, bytes]]:
    """Restores standard input into standard output."""

    def restore(given: bytes, *arguments: str) -> tuple[int, bytes, bytes]:
        monkeypatch.setattr(sys, "argv", ["apollo", "restore", "-", "-m", str(model), *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        with pytest.raises(SystemExit) as left:
            main()
        output = capsysbinary.readouterr()
        return int(left.value.code or 0), output.out, output.err

    return restore


def test_raw_samples_go_through_pipes_as_they_came(
    coded: np.ndarray, pipe: Callable[..., tuple[int, bytes, bytes]]
) -> None:
    short = np.round(coded[:, :5000] * 2**15).astype("<i2")
    code, restored, _ = pipe(short.T.tobytes(), "--raw", "s16le,44100,2")
    assert code == 0
    assert np.abs(np.frombuffer(restored, "<i2").reshape(-1, 2).T - short.astype(int)).max() <= 1
    _, restored, _ = pipe(short.T.tobytes(), "--raw", "s16le,44100,2", "--bits", "float")
    assert np.abs(np.frombuffer(restored, "<f4").reshape(-1, 2).T - short / 2.0**15).max() < 1e-6
    for description in ("u8,44100,2", "s16le,44100", "s16le,44100,9", "s16le,0,2", "s16le,fast,2"):
        code, restored, errors = pipe(b"", "--raw", description)
        assert (code, restored, errors.count(b"\n")) == (1, b"", 1), description


def test_what_is_no_sound_ends_a_pipe_in_one_sentence(pipe: Callable[..., tuple[int, bytes, bytes]]) -> None:
    code, restored, errors = pipe(b"no sound")
    assert (code, restored, errors.count(b"\n")) == (1, b"", 1)


def test_names_of_all_kinds_work(tmp_path: Path, coded: np.ndarray, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["ünï 歌 🎵.wav", "two  spaces .wav", "-m.wav", "[a]*.wav", "100%.wav", "a'b\"c.wav"]
    monkeypatch.chdir(tmp_path)
    for name in names if sys.platform != "win32" else names[:3]:
        write(Path(name), coded[:, :5000], 44100)
        assert run("--force", "--", name)[0] == 0, name
        assert Path(f"{name.removesuffix('.wav')}.restored.flac").is_file(), name


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, names are text")
def test_names_that_are_not_text_work(
    tmp_path: Path, coded: np.ndarray, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    names = [os.fsdecode(b"\xe9t\xe9." + suffix) for suffix in (b"flac", b"mp3", b"wav")]
    for name in names:
        write(folder / name, coded, 44100)
    for status in ("restored", "finished"):
        code, _, errors = run(folder, "--force", "--json", tmp_path / "report.json")
        assert (code, errors) == (0, "")
        found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["files"]
        assert [Path(file["source"]) for file in found] == [folder / name for name in names]
        assert [file["status"] for file in found] == 3 * [status]
    monkeypatch.setattr(sys, "argv", ["apollo", "inspect", str(folder / names[0]), "--plot", str(folder / "a.png")])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert (folder / "a.png").is_file()


def test_no_report_takes_the_place_of_a_song(album: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (album / "a.mp3").read_bytes(), (album / "b.wav").read_bytes()
    code, _, errors = run("--json", album / "a.mp3", album / "b.wav")
    assert (code, errors.count("\n")) == (1, 1)
    assert "--json writes a separate file: name one that ends in .json" in errors
    monkeypatch.setattr(sys, "argv", ["apollo", "inspect", "--plot", str(album / "a.mp3"), str(album / "b.wav")])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert before == ((album / "a.mp3").read_bytes(), (album / "b.wav").read_bytes())
    assert run(album / "b.wav", "-o", "-")[0] == 1
    assert run("-", "--json", album / "report.json")[0] == 1
    assert files(album) == ["a.mp3", "b.wav", "disc 2/歌 é.flac"]


def test_work_goes_on_where_compiling_by_itself_fails(
    album: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(device: torch.device) -> None:
        raise ApolloError("there is no compiler")

    monkeypatch.setattr(apollo.restoration, "pays_to_compile", lambda tasks, device: True)
    monkeypatch.setattr(apollo.restoration.engine, "check_compiler", missing)
    code, output, errors = run(album / "a.mp3", "-o", tmp_path / "a.flac")
    assert (code, errors) == (0, "Warning: continuing uncompiled: there is no compiler\n")
    assert output.splitlines()[0].endswith("on cpu in float32, chunks of 20 s")
    assert (tmp_path / "a.flac").is_file()
    assert run(album / "a.mp3", "-o", tmp_path / "b.flac", "--compile", "on")[0] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
def test_who_watches_sees_files_and_seconds_go_by(
    tmp_path: Path, coded: np.ndarray, model: Path, start_fork: Callable[..., Any]
) -> None:
    import pty

    for name in ("a.wav", "b.wav"):
        write(tmp_path / name, np.tile(coded, 30), 44100)  # 20 s
    screen, terminal = pty.openpty()
    command = ("-m", "apollo", "restore", "--force", "--chunk", "2", "-m", model, tmp_path)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = start_fork(*command, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while block := os.read(screen, 1 << 16):
            shown += block
    os.close(screen)
    assert process.wait() == 0
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"files .* 0/2", seen)
    assert re.search(r"files .* 1/2", seen)
    assert re.search(r"a\.wav .* \d+/20 s, [0-9.]+ × real time", seen)
    assert "Restored 2 of 2 files." in seen


def test_folder_may_have_a_dot_in_its_name(album: Path, tmp_path: Path, run: Run) -> None:
    assert run(album / "a.mp3", "-o", tmp_path / "Vol. 2", "--bits", "float")[0] == 0
    assert files(tmp_path / "Vol. 2") == ["a.restored.wav"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs links and permissions")
def test_places_that_cannot_be_are_one_sentence(album: Path, tmp_path: Path, run: Run) -> None:
    (album / "loop.mp3").symlink_to("loop.mp3")
    (tmp_path / "round").mkdir()
    (tmp_path / "round" / "again").symlink_to(tmp_path / "round")
    write(tmp_path / "round" / "a.wav", np.zeros((1, 100)), 44100)
    before = files(album)
    places = [
        (album / "loop.mp3",),
        (album / "b.wav", "-o", album / "b.wav", "--overwrite"),
        (album / "b.wav", "-o", album / "a.mp3" / "deeper"),
        (album / "b.wav", "-o", "/dev/null/x.flac"),
    ]
    if os.geteuid():
        (tmp_path / "read only").mkdir(mode=0o500)
        places.append((album / "b.wav", "-o", tmp_path / "read only"))
    for arguments in places:
        code, _, errors = run(*arguments)
        assert code == 1, arguments
        assert errors.startswith("Error: "), errors
        assert errors.count("\n") == 1, errors
    assert files(album) == before
    assert run(tmp_path / "round", "--force")[0] == 0  # a folder that holds itself is searched once
    assert {path.name for path in (tmp_path / "round").iterdir()} == {"a.restored.flac", "a.wav", "again"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--in_wav=b.wav", "--out_wav=out.wav"],
        ["--in_wav", "b.wav", "--out_wav", "out.wav", "--chunk", "2"],
        ["-i", "b.wav", "-o", "out.wav", "--crossover", "0"],
        ["--in_wav=b.wav", "--out_wav=out.wav", "--chunk-seconds=2", "--overlap-seconds=1", "--chunk-batch-size=1"],
        ["-c", "none.yaml", "-i", "b.wav", "-o", "out.wav", "--segments", "2", "--overlap", "0.5", "--batch_size", "1"],
        ["--in_wav", "b.wav", "--out_wav", "out.wav", "--crossover", "4000", "--dry_wet", "0.5"],
    ],
)
def test_the_predecessors_commands_work(
    album: Path, model: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(album)
    monkeypatch.setattr(sys, "argv", ["inference.py", "-m", str(model), *arguments])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / "inference.py"), run_name="__main__")
    assert not left.value.code
    assert np.abs(read(album / "out.wav")[0] - read(album / "b.wav")[0]).max() <= 2.0**-22
