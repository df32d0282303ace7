"""Processes, threads, memory, work folders and files."""
