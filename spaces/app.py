"""Apollo as a Hugging Face Space."""

from apollo.web import Settings, serve

serve(Settings(host="0.0.0.0", port=7860, max_size=200_000_000), print)
