"""Whole tables in one command: repeated splits, cross-set matrices and few-label curves, resumable and shareable."""
