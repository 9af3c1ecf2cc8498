"""Cutting crops, and distorting photographs."""
