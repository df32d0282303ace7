"""Files of DeepH and DeepH-E3."""
