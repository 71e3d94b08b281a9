"""Tags, pictures and chapters of audio files: read whatever is about, write what every format's programs expect."""
