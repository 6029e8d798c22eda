"""The chat plugin: web chat of Airy itself. A source without a provider."""
