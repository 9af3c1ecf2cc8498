"""Files of a data set on disk, found however its label file spells them."""
