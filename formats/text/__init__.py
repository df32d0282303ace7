"""Files of numbers, read fast and within bounds."""
