"""Whole tables in one command: repeated splits, resumable and shared between processes."""
