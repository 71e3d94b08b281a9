"""Whatever libsndfile and FFmpeg write goes through every verb that takes files, or is refused in one sentence.

`pytest -m attack -s tests/test_containers.py` is the long form: 300 generated containers, codecs and oddities through
every verb, and five kinds of damage in each container and codec.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from apollo.audio import AudioReader, read
from apollo.checkpoints import save_model
from apollo.cli import app
from apollo.errors import ApolloError
from apollo.nn import Apollo

# What FFmpeg's muxers hold, by suffix; some take anything.
ANYTHING = """
    aac ac3 adpcm_ima_qt adpcm_ima_wav adpcm_ms adpcm_swf adpcm_yamaha alac eac3 flac g722 g726 libmp3lame libopus mp2
    nellymoser pcm_alaw pcm_f32be pcm_f32le pcm_f64le pcm_mulaw pcm_s16be pcm_s16le pcm_s24be pcm_s24le pcm_s32le
    pcm_s64le pcm_s8 pcm_u8 tta wavpack wmav1 wmav2
"""
SPECIAL = """
    3gp:aac 3gp:libopencore_amrnb ac3:ac3 adts:aac adx:adpcm_adx aiff:pcm_s16be aiff:pcm_s24be aiff:pcm_f32be
    apm:adpcm_ima_apm amr:libopencore_amrnb ast:pcm_s16be_planar au:pcm_s16be au:pcm_alaw au:pcm_f32be eac3:eac3
    flac:flac m4a:aac m4a:alac mmf:adpcm_yamaha mp2:mp2 mp3:libmp3lame ogg:flac ogg:libopus opus:libopus oga:flac
    rso:pcm_u8 sox:pcm_s32le tta:tta webm:libopus wv:wavpack
    flv:aac flv:libmp3lame flv:adpcm_swf flv:nellymoser
"""
NAMES = {"mka": "matroska", "mpg": "mpeg", "ts": "mpegts", "m4a": "ipod"}  # of muxers, where not the suffix
SPACIOUS = "asf avi caf mka mov mp4 mpg mxf nut rm ts voc vob w64 wav wtv"
PAIRS = [tuple(pair.split(":")) for pair in SPECIAL.split()]
PAIRS += [(suffix, codec) for suffix in SPACIOUS.split() for codec in ANYTHING.split()]
KINDS = [
    (name, subtype)
    for name in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(name)
    if name not in ("RAW", "MP3") and not subtype.startswith("DWVW")
]


def tone(rate: int, channels: int, seconds: float) -> np.ndarray:
    """Two sines that fade in and out, `(channels, samples)`."""
    time = np.arange(round(rate * seconds)) / rate
    wave = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 1_000 * time)
    fade = np.minimum(1, 20 * np.minimum(time, time[::-1]))
    return (np.array([[1.0], [0.5]])[:channels] * wave * fade).astype(np.float32)


def noisy(rate: int, channels: int, seconds: float) -> np.ndarray:
    """Noise, which makes all frames of a codec long."""
    return (0.1 * np.random.default_rng(0).standard_normal((channels, round(rate * seconds)))).astype(np.float32)


def by_libsndfile(
    folder: Path, name: str, subtype: str, seconds: float = 0.4, sound: Callable[..., np.ndarray] = tone
) -> Path | None:
    """A file of a kind that libsndfile writes; None where it does not after all."""
    path = folder / f"{subtype}.{name.lower()}"
    for rate, channels in ((44_100, 2), (44_100, 1), (8_000, 1)):
        with contextlib.suppress(soundfile.LibsndfileError, ValueError):
            soundfile.write(path, sound(rate, channels, seconds).T, rate, subtype, format=name)
            return path
    path.unlink(missing_ok=True)
    return None


def by_ffmpeg(
    folder: Path, suffix: str, codec: str, seconds: float = 0.22, sound: Callable[..., np.ndarray] = tone
) -> Path | None:
    """A codec in a container of FFmpeg; None where the one does not hold the other."""
    path = folder / f"{codec}.{suffix}"
    rates = [8_000] if "amr" in codec else av.codec.Codec(codec, "w").audio_rates
    for rate, channels in ((44_100, 2), (44_100, 1), (8_000, 1)):
        if rates and rate not in rates:
            rate = max(rates)
        layout = ("mono", "stereo")[channels - 1]
        with contextlib.suppress(av.FFmpegError, ValueError, LookupError):
            with av.open(str(path), "w", format=NAMES.get(suffix, suffix)) as container:
                stream = container.add_stream(codec, rate=rate, layout=layout, options={"strict": "-2"})
                frame = av.AudioFrame.from_ndarray(sound(rate, channels, seconds), "fltp", layout)
                frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
                container.mux([*stream.encode(frame), *stream.encode(None)])
            if path.stat().st_size > 300:
                return path
    path.unlink(missing_ok=True)
    return None


def samples_of(path: Path) -> tuple[np.ndarray, int] | None:
    """What is read of a file, having checked that as many samples are counted and sought; None if it is refused."""
    try:
        with AudioReader(path) as reader:
            blocks = [np.zeros((reader.channels, 0), np.float32)]
            while (block := reader.read(3_000)).shape[1]:
                blocks.append(block)
            waveform = np.concatenate(blocks, axis=1)
            assert reader.count() == waveform.shape[1], path.name
            assert reader.frames in (None, waveform.shape[1]), path.name
            place = waveform.shape[1] // 3
            reader.seek(place)
            np.testing.assert_allclose(reader.read(300), waveform[:, place : place + 300], atol=1e-3, err_msg=path.name)
            return waveform, reader.sample_rate
    except ApolloError:
        return None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that changes nothing."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(Apollo(win=100, feature_dim=16, layer=1, output="residual"), path)
    return path


def check_every_verb(files: Path, out: Path, model: Path) -> None:
    """Have a folder of files go through all verbs that take files, and look at what comes out."""
    paths = sorted(path for path in files.iterdir() if path.is_file())
    held = {path: samples_of(path) for path in paths}

    def run(*words: object) -> str:
        result = CliRunner().invoke(app, [*map(str, words)])
        assert isinstance(result.exception, SystemExit | ApolloError | None), result.exception
        return result.output + (f"Error: {result.exception}" if isinstance(result.exception, ApolloError) else "")

    run("restore", *paths, "-m", model, "--force", "-o", out / "r", "--sample-rate", "keep", "--json", out / "r.json")
    report = {Path(file["source"]): file for file in json.loads((out / "r.json").read_text(encoding="utf-8"))["files"]}
    for path, sound in held.items():
        entry = report[path]
        if sound is None or not sound[0].shape[1] or not np.isfinite(sound[0]).all():
            assert (entry["status"], entry["message"].startswith(str(path))) == ("failed", True), path.name
            assert "unexpected error" not in entry["message"], path.name
            continue
        waveform, rate = sound
        assert entry["status"] == "restored", (path.name, entry["message"])
        restored = read(entry["target"])[0] * 10 ** (entry["turned_down_db"] / 20)
        assert restored.shape == waveform.shape, path.name
        # Below 44.1 kHz, the last Hertz before the limit are lost on the way to the network's rate and back.
        assert np.abs(restored - waveform).max() < (1e-4 if rate == 44_100 else 0.03), path.name
    inspected = json.loads(re.sub(r"(?m)^(Error|Warning): .*$", "", run("inspect", *paths, "--json")))
    for entry in inspected:
        path = Path(entry["file"])
        assert ("problem" in entry) == (held[path] is None or not held[path][0].shape[1]), path.name
        assert "unexpected error" not in entry.get("problem", "")
    for verb in (("data", "check", files), ("data", "degrade", files, out / "d", "--workers", 1, "--bitrates", "64k")):
        assert "unexpected error" not in run(*verb)
    few = out / "few"
    few.mkdir()
    for path in paths[:: max(1, len(paths) // 12)]:  # each takes half a second
        (few / path.name).write_bytes(path.read_bytes())
    scored = run("evaluate", few, "-m", model, "--bitrates", 64, "--metrics", "snr", "--workers", 1)
    assert "unexpected error" not in scored
    assert "bug in Apollo" not in scored


@pytest.mark.slow
def test_every_kind_that_libsndfile_writes_goes_through_every_verb(tmp_path: Path, model: Path) -> None:
    (tmp_path / "in").mkdir()
    # Those of 0.4 s are long enough for encoders to be looked for in them, which takes as long as all else.
    lengths = [0.4 if number % 40 == 0 else 0.22 for number in range(len(KINDS))]
    made = [by_libsndfile(tmp_path / "in", *kind, length) for kind, length in zip(KINDS, lengths, strict=True)]
    assert sum(path is not None for path in made) > 100
    check_every_verb(tmp_path / "in", tmp_path, model)


ODDITIES: dict[str, Callable[[bytes, Random], bytes]] = {
    "as it is": lambda data, random: data,
    "cut off": lambda data, random: data[: random.randrange(len(data) // 4, len(data))],
    "zeros behind": lambda data, random: data + bytes(random.choice([1, 4_096, 3 << 20])),
    "ID3v1 behind": lambda data, random: data + b"TAG" + bytes(125),
    "APE tag behind": lambda data, random: data + b"APETAGEX" + bytes(range(256)) * 30,
    "ID3 before": lambda data, random: b"ID3\x04\0\0\0\0\x01\x00" + bytes(128) + data,
    "noise inside": lambda data, random: data[: len(data) // 2] + random.randbytes(999) + data[len(data) // 2 + 999 :],
    "zeros inside": lambda data, random: data[: len(data) // 2] + bytes(2_000) + data[len(data) // 2 + 2_000 :],
    "a hole": lambda data, random: data[: len(data) // 2] + data[len(data) // 2 + 1_500 :],
    "twice": lambda data, random: data + data,
    "no sizes": lambda data, random: data[:4] + bytes(4) + data[8:],
}


@pytest.mark.slow
def test_whatever_ffmpeg_writes_is_read_whole_and_goes_through_every_verb(tmp_path: Path, model: Path) -> None:
    pairs = PAIRS[: len(SPECIAL.split())] + PAIRS[len(SPECIAL.split()) :: 12]
    check_every_verb(made(tmp_path, [(*pair, "as it is") for pair in pairs]), tmp_path, model)
    wrong, refused = [], []
    for path in sorted((tmp_path / "in").iterdir()):
        if (sound := samples_of(path)) is None:
            refused.append(path.name)
            continue
        waveform, rate = sound
        spectrum = np.abs(np.fft.rfft(waveform[0] * np.hanning(waveform.shape[1])))
        hertz, seconds = np.argmax(spectrum) * rate / waveform.shape[1], waveform.shape[1] / rate
        if abs(hertz - 440) > 20 or not 0.2 < seconds < 0.33:
            wrong.append((path.name, hertz, seconds))
    assert not wrong
    assert len(refused) < 10, refused


@pytest.mark.attack
@pytest.mark.parametrize("seed", range(6))
def test_fifty_oddities_go_through_every_verb(tmp_path: Path, model: Path, seed: int) -> None:
    random = Random(seed)
    wanted = [(*random.choice(PAIRS + KINDS), random.choice(list(ODDITIES))) for _ in range(200)]
    check_every_verb(made(tmp_path, wanted, 50), tmp_path, model)


DAMAGE: dict[str, Callable[[bytes, Random], bytes]] = {
    "as it is": ODDITIES["as it is"],
    "an odd number of bytes": lambda data, random: data[: len(data) * 5 // 8 | 1],
    **{name: ODDITIES[name] for name in ("cut off", "noise inside", "zeros inside", "a hole")},
}
# These tell neither how long they are nor where their units begin: what is lost of them cannot be known.
SHAPELESS = {"ircam", "paf", "pvf", "rso", "sd2", "xi"}
# AAC without headers, which FFmpeg cannot tell apart in WTV; zeros are packets of Opus that last half as long.
MISREAD = {"aac.wtv", "libopus.mp4"}
NOT_LONG = 0.02  # seconds


def fate_of(path: Path, seconds: float) -> str:
    """What becomes of a file: "right", "told", "refused", or what is wrong; given how long it was."""
    try:
        with AudioReader(path) as reader:
            samples = 0
            while read_now := reader.read(1 << 16).shape[1]:
                samples += read_now
            said, counted, rate = [*reader.remarks.sentences()], reader.count(), reader.sample_rate
    except ApolloError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error}"
    if counted != samples:
        return f"miscounted: {counted} of {samples} samples"
    lost = seconds - samples / rate
    return "told" if said else "right" if lost <= NOT_LONG else f"silent: {lost:.3f} s are lost"


@pytest.mark.attack
def test_what_is_lost_of_any_container_is_told(tmp_path: Path) -> None:
    fates: Counter[tuple[str, str]] = Counter()
    wrong = []
    for container, codec in PAIRS + KINDS:
        path = (by_libsndfile if container.isupper() else by_ffmpeg)(tmp_path, container, codec, 3.0, noisy)
        if path is None or (whole := samples_of(path)) is None:
            continue
        content = path.read_bytes()
        for damage, change in DAMAGE.items():
            path.write_bytes(change(content, Random(path.name)))
            fate = fate_of(path, whole[0].shape[1] / whole[1])
            fates[damage, fate.split(":")[0]] += 1
            shapeless = container.lower() in SHAPELESS or path.name in MISREAD
            if not shapeless and fate not in (("right",) if damage == "as it is" else ("right", "told", "refused")):
                wrong.append(f"{path.name}, {damage}: {fate}")
    print(dict(fates), wrong)  # noqa: T201 (shown by -s)
    assert not wrong


CUT = """
    adts:aac ac3:ac3 eac3:eac3 mp2:mp2 ts:aac ts:ac3 ts:mp2 mpg:mp2 vob:ac3 ogg:flac nut:pcm_s16le nut:mp2
    voc:pcm_s16le sox:pcm_s32le ast:pcm_s16be_planar mmf:adpcm_yamaha adx:adpcm_adx amr:libopencore_amrnb
    AVR:PCM_16 MAT4:FLOAT MAT5:PCM_16 NIST:PCM_16 OGG:VORBIS VOC:PCM_16 WVE:ALAW MPC2K:PCM_16 IRCAM:PCM_16 PAF:PCM_16
"""
HURT = """
    avi:aac avi:ac3 avi:libmp3lame avi:adpcm_ms avi:g722 flv:libmp3lame ts:libmp3lame wtv:ac3
    ogg:libopus OGG:VORBIS w64:aac wav:aac asf:flac avi:flac wav:flac w64:flac wtv:flac ac3:ac3
"""


@pytest.mark.parametrize(
    ("kind", "damages"),
    [(kind, ["an odd number of bytes"]) for kind in CUT.split()]
    + [(kind, ["noise inside", "zeros inside"]) for kind in HURT.split()]
    + [(kind, ["a hole"]) for kind in ("nut:pcm_s16le", "nut:wavpack", "asf:mp2")],
)
def test_what_is_lost_of_files_without_lengths_is_told(tmp_path: Path, kind: str, damages: list[str]) -> None:
    container, codec = kind.split(":")
    by_soundfile = (container, codec) in KINDS
    path = by_libsndfile(tmp_path, container, codec, 1.5, noisy) if by_soundfile else None
    path = path or by_ffmpeg(tmp_path, container.lower(), codec, 1.5, noisy)
    assert path is not None
    content = path.read_bytes()
    assert fate_of(path, 1.5) == "right"
    for damage in damages:
        path.write_bytes(DAMAGE[damage](content, Random(0)))
        assert fate_of(path, 1.5) == "told"


@pytest.mark.parametrize("container", ["asf", "avi", "flac", "w64", "wav", "wtv"])
def test_all_of_a_flac_but_its_damage_stays_in_its_place_in_any_container(tmp_path: Path, container: str) -> None:
    path = by_ffmpeg(tmp_path, container, "flac", 2.0, noisy)
    assert path is not None
    whole, rate = read(path)
    path.write_bytes(ODDITIES["zeros inside"](path.read_bytes(), Random(0)))
    with AudioReader(path) as reader:
        found = reader.read(1 << 20)
        ((place, seconds),) = reader.remarks.damage
    lost = slice(round(place * rate), round((place + seconds) * rate))
    assert 0 < seconds < 0.3
    assert found.shape == whole.shape
    assert not found[:, lost].any()
    found[:, lost] = whole[:, lost]
    assert np.array_equal(found, whole)


def made(folder: Path, wanted: list[tuple[str, str, str]], at_most: int = 1_000) -> Path:
    """A folder of files of containers, codecs and oddities."""
    (folder / "in").mkdir()
    (folder / "made").mkdir()
    count = 0
    for number, (container, codec, oddity) in enumerate(wanted):
        path = (by_libsndfile if container.isupper() else by_ffmpeg)(folder / "made", container, codec)
        if path is not None and count < at_most:
            data = ODDITIES[oddity](path.read_bytes(), Random(number))
            (folder / "in" / f"{number} {codec}, {oddity}{path.suffix}").write_bytes(data)
            count += 1
    assert count >= min(at_most, len(wanted) // 2)
    return folder / "in"
