"""Animations, read back: as many frames, as long, in their colours."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxlens.data import _animation, save_animation

# Of different colours, with a square that moves: 33x51, both odd.
COLORS = np.asarray([(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.9, 0.1, 0.8), (0.2, 0.7, 0.7), (0.5, 0.5, 0.5)], np.float32)
FRAMES = np.repeat(np.repeat(COLORS[:, None, None], 33, 1), 51, 2)
for i, frame in enumerate(FRAMES):
    frame[8 : 8 + 8, 8 * i : 8 * i + 8] = 1.0


def read(path):
    """Frames in [0, 1], their times in milliseconds, and how often the file wants to be shown (0
    for ever, None for once).
    """
    with Image.open(path) as file:
        frames, times = [], []
        for i in range(file.n_frames):
            file.seek(i)
            frames.append(np.asarray(file.convert("RGB"), np.float32) / 255)
            times.append(file.info["duration"])
        return np.stack(frames), times, file.info.get("loop")


def read_video(path, shape, options=()):
    """Frames in [0, 1] as ffmpeg decodes them, and what it says about the file."""
    program = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    command = [program, "-i", str(path), *options, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, *shape, 3) / np.float32(255), done.stderr.decode()


@pytest.mark.parametrize(("suffix", "tolerance"), [(".gif", 0.003), (".png", 0.003), (".webp", 0.3), (".PNG", 0.003)])
def test_pictures_come_back(tmp_path, suffix, tolerance):
    path = save_animation(tmp_path / "deep" / f"one{suffix}", FRAMES, fps=25)
    assert path == tmp_path / "deep" / f"one{suffix}" and [each.name for each in path.parent.iterdir()] == [path.name]
    frames, times, loop = read(path)
    assert frames.shape == FRAMES.shape and times == [40] * 6 and loop == 0
    assert np.abs(frames - FRAMES).max() < tolerance
    assert np.abs(frames - FRAMES).mean() < 0.01
    assert np.abs(frames[::-1] - FRAMES).mean() > 0.2  # control: their order shows


@pytest.mark.parametrize(("suffix", "once"), [(".gif", None), (".png", 1), (".webp", 1)])
def test_once(tmp_path, suffix, once):
    assert read(save_animation(tmp_path / f"one{suffix}", FRAMES, loop=False))[2] == once


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_times_add_up(tmp_path, suffix):
    _, times, _ = read(save_animation(tmp_path / f"one{suffix}", FRAMES, fps=30))
    assert sum(times) == 200 and max(times) - min(times) <= (10 if suffix == ".gif" else 1)
    frames, times, _ = read(save_animation(tmp_path / f"one{suffix}", np.repeat(FRAMES, 2, 0)))
    assert sum(times) == 600 and len(frames) in (6, 12)  # equal ones may be joined


def test_any_iterable_and_one_frame(tmp_path):
    frames, _, _ = read(save_animation(tmp_path / "one.png", (frame for frame in FRAMES)))
    assert np.abs(frames - FRAMES).max() < 0.003
    save_animation(tmp_path / "still.gif", FRAMES[:1])
    with Image.open(tmp_path / "still.gif") as file:
        assert getattr(file, "n_frames", 1) == 1 and file.size == (51, 33)


@pytest.mark.parametrize(("size", "padded"), [((33, 51), (34, 52)), ((32, 50), (32, 50)), ((33, 50), (34, 50))])
def test_video(tmp_path, size, padded):
    frames = FRAMES[:, : size[0], : size[1]]
    path = save_animation(tmp_path / "one.mp4", iter(frames), fps=12.5)
    got, said = read_video(path, padded)
    assert got.shape == (6, *padded, 3) and f"{padded[1]}x{padded[0]}" in said
    assert "h264" in said and "yuv420p(tv, bt709" in said and "12.50 fps" in said and "Duration: 00:00:00.48" in said
    assert [each.name for each in tmp_path.iterdir()] == ["one.mp4"]
    want = np.pad(frames, ((0, 0), (0, padded[0] - size[0]), (0, padded[1] - size[1]), (0, 0)), mode="edge")
    inner = np.s_[:, 20:]  # below the square, around whose corners colours have half the resolution
    assert np.abs(got.mean((1, 2)) - want.mean((1, 2))).max() < 0.02
    assert np.abs(got[inner] - want[inner]).max() < 0.05  # the last rows and columns are repeated, not black
    squares = [got[i, 10:14, 8 * i + 2 : 8 * i + 6].min() for i in range(6)]
    assert min(squares) > 0.9


def test_video_has_the_right_colors(tmp_path):
    path = save_animation(tmp_path / "a:b -c.mp4", FRAMES)
    other, _ = read_video(path, (34, 52), ["-vf", "scale=in_color_matrix=bt601"])
    assert np.abs(other[:, 20:].mean((1, 2)) - COLORS).max() > 0.05  # control: what the file says about its colours matters


def test_video_without_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"Writing .mp4 files needs imageio-ffmpeg: pip install 'jaxlens-vision\[video\]'"):
        save_animation(tmp_path / "one.mp4", FRAMES)
    save_animation(tmp_path / "one.gif", FRAMES)
    assert [each.name for each in tmp_path.iterdir()] == ["one.gif"]


@pytest.mark.parametrize("reads", [False, True], ids=["gives up", "reads all"])
def test_a_video_that_cannot_be_written(tmp_path, monkeypatch, reads):
    (tmp_path / "one.mp4").write_text("before")
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{'cat > /dev/null' if reads else ''}\necho no room >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(_animation, "_ffmpeg", lambda: str(program))
    many = (np.zeros((256, 256, 3), np.float32) for _ in range(8))
    with pytest.raises(OSError, match=r"ffmpeg could not write the video \(exit status 3\): no room"):
        save_animation(tmp_path / "one.mp4", many)
    assert (tmp_path / "one.mp4").read_text() == "before" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        ([], ValueError, "frames is empty"),
        (FRAMES[:0], ValueError, "frames is empty"),
        (
            FRAMES[0],
            ValueError,
            r"frames has shape \(33, 51, 3\), but \[N, H, W, 3\] is needed. Add the first axis: frames\[None\]",
        ),
        (FRAMES[:, None], ValueError, r"frames has shape \(6, 1, 33, 51, 3\)"),
        (FRAMES[..., :1], ValueError, r"frames\[0\] has shape \(33, 51, 1\)"),
        ([FRAMES[0], FRAMES[1, 1:]], ValueError, r"frames\[1\] has shape \(32, 51, 3\), but frames\[0\] has \(33, 51, 3\)"),
        ([FRAMES[0], FRAMES[1] * 255], ValueError, r"frames\[1\] has values in \[0, 255\], but \[0, 1\] is needed"),
        ([FRAMES[0] * np.nan], ValueError, r"frames\[0\] holds NaN"),
        ((FRAMES * 255).astype(np.uint8), TypeError, r"frames\[0\] has dtype uint8"),
    ],
    ids=["none", "no rows", "one picture", "five axes", "grey", "sizes", "range", "NaN", "integers"],
)
def test_bad_frames_leave_no_file(tmp_path, suffix, frames, error, message):
    with pytest.raises(error, match=message):
        save_animation(tmp_path / f"one{suffix}", frames)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("one.avi", {}, r"one.avi' ends in '.avi', but must end in one of .gif, .webp, .png, .mp4"),
        ("one", {}, "ends in ''"),
        ("one.gif", {"fps": 0}, "fps=0 must be a number of frames per second above 0"),
        ("one.mp4", {"fps": -3}, "fps=-3"),
        ("one.png", {"fps": float("nan")}, "fps=nan"),
        ("one.gif", {"fps": 60}, "fps=60 is too fast for .gif, which shows at most 50 frames per second"),
    ],
)
def test_bad_options(tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        save_animation(tmp_path / name, FRAMES, **options)
    assert list(tmp_path.iterdir()) == []
