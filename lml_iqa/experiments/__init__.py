"""Whole tables in one command, resumable and shared between processes: splits, few labels, other sets, sweeps."""
