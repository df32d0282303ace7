"""Models that come with moireio."""
