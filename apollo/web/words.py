"""What the page says, in English and in Chinese."""

from __future__ import annotations

_WORDS = {
    "lead": (
        "Drop songs, restore them, and hear the difference. Everything happens where this page runs.",
        "拖入歌曲，还原，听听区别。一切都在运行此网页的机器上完成。",
    ),
    "songs": ("Songs (any format)", "歌曲（任意格式）"),
    "model": ("Model", "模型"),
    "format": ("Output format", "输出格式"),
    "more": ("More options", "更多选项"),
    "fill": (
        "Fill: from 0, the most faithful, to 1, the fullest (models with a fill)",
        "填充：0 最忠实，1 最饱满（仅限带填充的模型）",
    ),
    "mix": ("Mix: from 0, the input, to 1, the restored", "混合：0 为输入，1 为还原结果"),
    "keep_below": ("Keep the input's own sound below this frequency, in Hz", "保留此频率（Hz）以下的原声"),
    "force": ("Restore even what shows little or no damage", "损伤很小或没有损伤也还原"),
    "restore": ("Restore", "还原"),
    "cancel": ("Cancel", "取消"),
    "hear": ("Hear the difference", "听听区别"),
    "nothing": ("Drop a song first.", "请先拖入歌曲。"),
    "reading": ("reading", "正在读取"),
    "restoring": ("restoring", "正在还原"),
    "drawing": ("preparing the player", "正在准备播放器"),
    "progress": (
        "{done:.0f} of {total:.0f} s, {speed:.1f} × real time, {left} left",
        "{done:.0f} / {total:.0f} 秒，{speed:.1f} 倍实时，剩余 {left}",
    ),
    "file": ("File {number} of {files}", "第 {number} 个文件，共 {files} 个"),
    "done": ("Restored {restored} of {files}.", "已还原 {restored} / {files}。"),
    "cancelled": ("Cancelled. What was finished can be downloaded.", "已取消。已完成的可以下载。"),
    "restored": (
        "{seconds:.1f} s of audio in {elapsed:.1f} s ({speed:.1f} × real time)",
        "{seconds:.1f} 秒音频用时 {elapsed:.1f} 秒（{speed:.1f} 倍实时）",
    ),
    "turned_down": (
        ", volume lowered by {decibels:.1f} dB to avoid clipping",
        "，为避免削波降低了 {decibels:.1f} dB",
    ),
    "lost": (", without what this format cannot hold: {names}", "，此格式无法保存：{names}"),
    "failed": ("Failed", "失败"),
    "undamaged": ("Skipped", "已跳过"),
    "download": ("Download", "下载"),
    "download_all": ("Download all as ZIP", "全部下载（ZIP）"),
    "kept": ("Results are removed an hour after they were last used.", "结果在最后一次使用一小时后删除。"),
    "no_player": ("No player: {reason}", "没有播放器：{reason}"),
}

LANGUAGES = ("en", "zh")


def translations(language: str) -> dict[str, str]:
    """All words in a language."""
    place = LANGUAGES.index(language)
    return {name: both[place] for name, both in _WORDS.items()}


def language_of(header: str) -> str:
    """The language to speak to a browser that sends this `Accept-Language`: Chinese where that comes first.

    Example:
        >>> language_of("zh-CN,zh;q=0.9,en;q=0.8"), language_of("de,zh;q=0.5"), language_of("")
        ('zh', 'en', 'en')
    """
    return "zh" if header.strip().lower().startswith("zh") else "en"


def say(language: str, name: str, **values: object) -> str:
    """One of the words, with what belongs into it."""
    return _WORDS[name][LANGUAGES.index(language)].format(**values)
