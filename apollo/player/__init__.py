"""A player that switches between sounds of one recording without a gap, with pictures and a blind test."""

from apollo.player.comparison import Compared, Keep, compare, data_uri, look_at
from apollo.player.element import Sound, element, page, script, style

__all__ = ["Compared", "Keep", "Sound", "compare", "data_uri", "element", "look_at", "page", "script", "style"]
