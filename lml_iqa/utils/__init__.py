"""Small helpers that do not know about image quality."""
