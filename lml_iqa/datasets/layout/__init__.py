"""Lookup of a data set's files on disk, tolerant of spelling differences in the label file."""
